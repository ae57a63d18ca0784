"""Modules that are imported when they are first used: a task is described and served without torch."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType


def importer(package: str) -> Callable[[str], ModuleType]:
    """A package's `__getattr__` (PEP 562), which imports its module of that name."""

    def getattribute(name: str) -> ModuleType:
        module = f"{package}.{name}"
        if name.startswith("_") or find_spec(module) is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return import_module(module)

    return getattribute
