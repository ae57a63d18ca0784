"""A classifier as the runtimes' converters take it: image in, logits out."""

from __future__ import annotations

import onnx
import torch

from alambique.runtimes.base import Exportable
from alambique.tasks.images.architectures import Classifier

OPSET = 18
"""ONNX Runtime's static quantization refuses 21 and above."""
INPUTS, OUTPUTS = ("images",), ("logits",)


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
