"""A classifier as the runtimes' converters take it, and the description of what they make: image in, logits out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import onnx
import torch

from alambique import runtimes
from alambique.runtimes.base import Exportable, TensorSpec
from alambique.tasks.base import Card
from alambique.tasks.images.architectures import Classifier
from alambique.tasks.images.preprocess import DESCRIPTION

OPSET = 18
"""ONNX Runtime's static quantization refuses 21 and above."""
INPUTS, OUTPUTS = ("images",), ("logits",)
LIBRARIES = {"yolo26-cls": "ultralytics", "torchvision": "torchvision", "timm": "timm"}
"""The distribution that each family of networks is built from."""
EXPORTERS = ("onnxscript", "onnxslim")
"""Distributions with a part in the ONNX graph."""


def exportable(model: Classifier, image_size: int) -> Exportable:
    """A classifier for export.

    Args:
        model: in evaluation mode; its parameters need no gradients afterwards.
        image_size: side of the input, pixels.
    """
    model.requires_grad_(False)
    example = (torch.zeros(1, 3, image_size, image_size),)

    def graph() -> onnx.ModelProto:
        import onnxslim

        from alambique.runtimes.torch_graph import to_onnx

        slim: onnx.ModelProto = onnxslim.slim(to_onnx(model, example, INPUTS, OUTPUTS, OPSET))
        return slim

    return Exportable(graph, lambda _: model, example, OPSET, INPUTS, OUTPUTS)


def artifact(card: Card, tensors: Sequence[TensorSpec]) -> dict[str, Any]:
    """A classifier's part of a candidate's card.

    Args:
        card: of the checkpoint.
        tensors: the input, then the output.
    """
    image, logits = (tensor._asdict() for tensor in tensors)
    return {
        "image_size": card["image_size"],
        "input": image,
        "output": {**logits, "about": "logits in the order of `classes`; their softmax are the probabilities"},
        "preprocessing": DESCRIPTION,
    }


def packages(card: Card, runtime: str) -> tuple[str, ...]:
    """The network's library, and what makes the ONNX graph where the runtime's files are made of one."""
    library = LIBRARIES[card["network"]["family"]]
    return (library, *EXPORTERS) if runtimes.load(runtime).from_graph else (library,)
