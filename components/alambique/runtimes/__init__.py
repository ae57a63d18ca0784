"""What students run on: one module a runtime, which says how its files are written, opened, timed and quantized.

To add a runtime: its module, a line here, its name in `config.section.Runtime`, a template in `runtimes/examples`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from alambique.errors import ConfigurationError, DataError
from alambique.runtimes import coreml, executorch, mnn, ncnn, onnx, openvino, tensorrt, torchscript
from alambique.runtimes.base import Program, Runtime

RUNTIMES: dict[str, Runtime] = {
    module.RUNTIME.name: module.RUNTIME
    for module in (onnx, openvino, torchscript, ncnn, executorch, mnn, coreml, tensorrt)
}
"""By their names in params.yaml."""


def load(name: str) -> Runtime:
    """The runtime of this name; a DataError if there is none."""
    if name not in RUNTIMES:
        raise DataError(f"no runtime is named {name!r}; known are {', '.join(RUNTIMES)}")
    return RUNTIMES[name]


def open_candidate(folder: Path, card: Mapping[str, Any], threads: int) -> Program:
    """The candidate in a folder, its card verified, on its own runtime; a DataError if that is unknown here."""
    return load(card["runtime"]).open(folder / card["file"], threads)


def unavailable(names: Iterable[str]) -> dict[str, str]:
    """Why each of these runtimes' files cannot be made here; those that can are left out."""
    reasons = {name: load(name).unavailable() for name in names}
    return {name: reason for name, reason in reasons.items() if reason}


def require_available(names: Iterable[str]) -> None:
    """Refuse runtimes whose files cannot be made on this machine.

    Raises:
        ConfigurationError: there are some; the message lists each with its reason.
    """
    if reasons := unavailable(names):
        listed = "\n".join(f"- {name}: {reason}" for name, reason in reasons.items())
        raise ConfigurationError(
            f"runtimes: these cannot be made here; take them out of params.yaml, or change the reason:\n{listed}"
        )
