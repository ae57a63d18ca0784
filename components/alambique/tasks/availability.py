"""Which runtimes' files can be made on this machine, known before any work starts."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from importlib.metadata import version
from importlib.util import find_spec

MODULES = {
    "ncnn": ("ncnn", "pnnx"),
    "executorch": ("executorch",),
    "engine": ("tensorrt", "modelopt"),
    "coreml": ("coremltools",),
}
"""What each runtime's files are made with that `alambique[ml]` does not bring."""
INSTALL = {
    "ncnn": '"alambique[ncnn]"',
    "executorch": '"alambique[executorch]"',
    "engine": 'tensorrt "alambique[qat]"',
    "coreml": "coremltools",
}
"""What pip is to be given for it."""


def unavailable(runtimes: Iterable[str]) -> dict[str, str]:
    """Why each of these runtimes' files cannot be made here; those that can are left out."""
    reasons = {runtime: _reason(runtime) for runtime in runtimes}
    return {runtime: reason for runtime, reason in reasons.items() if reason}


def _reason(runtime: str) -> str | None:
    if runtime == "litert":
        return f"its converter litert-torch needs torch < 2.15, and this environment has {version('torch')}"
    if runtime == "coreml" and platform.system() != "Darwin":
        return f"Core ML runs on Apple machines only, and this one is {platform.system()}"
    if runtime == "engine" and not _has_gpu():
        return "TensorRT builds for the NVIDIA GPU of its own machine, and torch.cuda finds none here"
    if missing := [module for module in MODULES.get(runtime, ()) if not _installed(module)]:
        return f"{' and '.join(missing)} cannot be imported; run `pip install {INSTALL[runtime]}`"
    return None


def _installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ImportError:
        return False


def _has_gpu() -> bool:
    import torch

    return bool(torch.cuda.is_available())
