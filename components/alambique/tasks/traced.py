"""Networks as files of the runtimes that read PyTorch's own graph: TorchScript, ncnn, ExecuTorch, Core ML.

Each function writes one runtime's file, by Ultralytics' converter, whatever the network computes.
"""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from torch import Tensor


def write_torchscript(model: Any, image: Tensor, path: Path) -> None:
    """Write a TorchScript archive, without the names and lines of the source files that it was traced from.

    Equal weights give equal bytes from a fresh process, as a stage's is: TorchScript numbers what a process has traced.

    Args:
        model: in evaluation mode.
        image: a batch of one to trace it with.
        path: the file to write.
    """
    from ultralytics.utils.export.torchscript import torch2torchscript

    with tempfile.TemporaryDirectory() as scratch:
        # The archive's own folder is named after its file.
        traced = torch2torchscript(model, image, Path(scratch) / path.name)
        with zipfile.ZipFile(traced) as given, zipfile.ZipFile(path, "w") as kept:
            for entry in given.infolist():
                if not entry.filename.endswith(".debug_pkl"):
                    kept.writestr(entry, given.read(entry))


def write_executorch(model: Any, image: Tensor, path: Path) -> None:
    """Write an ExecuTorch program whose convolutions XNNPACK computes; see `write_torchscript`."""
    from ultralytics.utils.export.executorch import torch2executorch

    with tempfile.TemporaryDirectory() as scratch:
        made = torch2executorch(model, image, Path(scratch))
        shutil.copyfile(Path(made) / "model.pte", path)


def write_ncnn(model: Any, image: Tensor, path: Path) -> None:
    """Write ncnn's .param and, beside it, its .bin, with input in0 and output out0; see `write_torchscript`."""
    from ultralytics.utils.export.ncnn import torch2ncnn

    with tempfile.TemporaryDirectory() as scratch:
        made = Path(torch2ncnn(model, image, Path(scratch)))
        for suffix in (".param", ".bin"):
            shutil.copyfile(made / f"model.ncnn{suffix}", path.with_suffix(suffix))


def write_coreml(model: Any, image: Tensor, path: Path) -> str:
    """Write a Core ML package, in FP32, with input images; see `write_torchscript`.

    Returns:
        the name that Core ML gives its output.
    """
    import coremltools
    from ultralytics.utils.export.coreml import torch2coreml

    given = coremltools.TensorType("images", shape=tuple(image.shape))
    made = torch2coreml(model, [given], image, classifier_names=None)
    made.save(str(path))
    name: str = made.get_spec().description.output[0].name
    return name
