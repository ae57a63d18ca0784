"""What runtimes say of the things they cannot do: packages that are missing, and tools that they do not have."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar, NoReturn

from alambique.errors import ConfigurationError
from alambique.runtimes.base import Budget, Exportable, Quantization, StaticInt8, Validation


class Fp32Only:
    """The part of `alambique.runtimes.base.Runtime` that quantizes, for a runtime without a tool for it."""

    name: ClassVar[str]
    int8_packages: ClassVar[tuple[str, ...]] = ()
    quantizations: ClassVar[tuple[type[Quantization], ...]] = ()
    accuracy_control: ClassVar = False

    def quantize(self, network: Exportable, how: Quantization, path: Path) -> NoReturn:
        raise no_quantizer(self.name)

    def quantize_with_accuracy_control(
        self, network: Exportable, how: StaticInt8, path: Path, validation: Validation, budget: Budget
    ) -> NoReturn:
        raise no_quantizer(self.name)


def missing(modules: tuple[str, ...], install: str) -> str | None:
    """That some of these modules cannot be imported, and what to give pip; None where all can."""
    if absent := [module for module in modules if not _installed(module)]:
        return f"{' and '.join(absent)} cannot be imported; run `pip install {install}`"
    return None


def no_quantizer(runtime: str) -> ConfigurationError:
    """For a kind of quantization, or of accuracy control, that a runtime has no tool for."""
    return ConfigurationError(f"int8: {runtime} has no quantizer here; take it out of `int8`")


def _installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ImportError:
        return False
