"""A detector as files of the runtimes that read PyTorch's own graph: TorchScript, ncnn, ExecuTorch, Core ML.

Each function writes one runtime's file and describes what goes in and what comes out.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from ultralytics.nn.modules import Attention, Detect

from alambique.tasks.detect import network
from alambique.tasks.detect.signature import PLACES, Signature, tensor
from alambique.tasks.detect.suppression import end_to_end
from alambique.tasks.traced import write_coreml, write_executorch, write_ncnn, write_torchscript


def to_torchscript(weights: Path, image_size: int, path: Path) -> Signature:
    """Write a TorchScript archive."""
    model, image = inference_network(weights, image_size, "torchscript")
    write_torchscript(model, image, path)
    return Signature(tensor("images", image.shape), tensor("output0", model(image).shape))


def to_executorch(weights: Path, image_size: int, path: Path) -> Signature:
    """Write an ExecuTorch program."""
    model, image = inference_network(weights, image_size, "executorch")
    write_executorch(model, image, path)
    return Signature(tensor("images", image.shape), tensor("output0", model(image).shape))


def to_ncnn(weights: Path, image_size: int, path: Path) -> Signature:
    """Write ncnn's .param and .bin: every place's box and scores, since ncnn cannot choose the best."""
    model, image = inference_network(weights, image_size, "ncnn")
    model.model[-1].postprocess = _as_they_are
    write_ncnn(model, image, path)
    return Signature(tensor("in0", image.shape[1:]), tensor("out0", model(image).shape[1:]) | PLACES)


def to_coreml(weights: Path, image_size: int, path: Path) -> Signature:
    """Write a Core ML package."""
    model, image = inference_network(weights, image_size, "coreml")
    output = write_coreml(model, image, path)
    return Signature(tensor("images", image.shape), tensor(output, model(image).shape))


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
