"""A detector as files of the runtimes that read PyTorch's own graph: TorchScript, ncnn, ExecuTorch, Core ML.

Each function writes one runtime's file, by Ultralytics' converter, and describes what goes in and what comes out.
"""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from ultralytics.nn.modules import Attention, Detect

from alambique.tasks.detect import network
from alambique.tasks.detect.signature import PLACES, Signature, tensor
from alambique.tasks.detect.suppression import end_to_end


def to_torchscript(weights: Path, image_size: int, path: Path) -> Signature:
    """Write a TorchScript archive, without the names and lines of the source files that it was traced from.

    Equal weights give equal bytes from a fresh process, as a stage's is: TorchScript numbers what a process has traced.
    """
    from ultralytics.utils.export.torchscript import torch2torchscript

    model, image = inference_network(weights, image_size, "torchscript")
    with tempfile.TemporaryDirectory() as scratch:
        # The archive's own folder is named after its file.
        traced = torch2torchscript(model, image, Path(scratch) / path.name)
        with zipfile.ZipFile(traced) as given, zipfile.ZipFile(path, "w") as kept:
            for entry in given.infolist():
                if not entry.filename.endswith(".debug_pkl"):
                    kept.writestr(entry, given.read(entry))
    return Signature(tensor("images", image.shape), tensor("output0", model(image).shape))


def to_executorch(weights: Path, image_size: int, path: Path) -> Signature:
    """Write an ExecuTorch program whose convolutions XNNPACK computes."""
    from ultralytics.utils.export.executorch import torch2executorch

    model, image = inference_network(weights, image_size, "executorch")
    with tempfile.TemporaryDirectory() as scratch:
        made = torch2executorch(model, image, Path(scratch))
        shutil.copyfile(Path(made) / "model.pte", path)
    return Signature(tensor("images", image.shape), tensor("output0", model(image).shape))


def to_ncnn(weights: Path, image_size: int, path: Path) -> Signature:
    """Write ncnn's .param and, beside it, its .bin: every place's box and scores, since ncnn cannot choose the best."""
    from ultralytics.utils.export.ncnn import torch2ncnn

    model, image = inference_network(weights, image_size, "ncnn")
    model.model[-1].postprocess = _as_they_are
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(torch2ncnn(model, image, Path(scratch)))
        for suffix in (".param", ".bin"):
            shutil.copyfile(made / f"model.ncnn{suffix}", path.with_suffix(suffix))
    return Signature(tensor("in0", image.shape[1:]), tensor("out0", model(image).shape[1:]) | PLACES)


def to_coreml(weights: Path, image_size: int, path: Path) -> Signature:
    """Write a Core ML package, in FP32."""
    import coremltools
    from ultralytics.utils.export.coreml import torch2coreml

    model, image = inference_network(weights, image_size, "coreml")
    given = coremltools.TensorType("images", shape=tuple(image.shape))
    made = torch2coreml(model, [given], image, classifier_names=None)
    made.save(str(path))
    return Signature(
        tensor("images", image.shape), tensor(made.get_spec().description.output[0].name, model(image).shape)
    )


def inference_network(weights: Path, image_size: int, runtime: str) -> tuple[Any, Tensor]:
    """A checkpoint's network as Ultralytics prepares one for export: fused, final boxes only.

    Args:
        weights: a detector.
        image_size: side of the input, pixels.
        runtime: Ultralytics' name of the format.
    Returns:
        the network, (1, 3, size, size) → (1, n, 6), and an input to trace it with.
    """
    # Before fusing, which drops the branch that is not chosen.
    model = end_to_end(network.load(weights)).requires_grad_(False).eval().fuse(verbose=False)
    image = torch.zeros(1, 3, image_size, image_size)
    for layer in model.modules():
        if isinstance(layer, Detect | Attention):
            layer.export, layer.format = True, runtime
    model(image)  # computes the anchors, which become constants
    return model, image


def _as_they_are(places: Tensor) -> Tensor:
    return places
