"""TensorRT plans, from the same ONNX graph as the others', for the GPU of this machine and no other: FP16, and INT8."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import onnx
import torch
from torch.utils.data import DataLoader

from alambique.tasks.detect.calibration import Inputs

if TYPE_CHECKING:
    from alambique.tasks.detect.validation import Budget, Validation


def export(graph: onnx.ModelProto, path: Path) -> None:
    """Build a plan in FP16, with FP32 where TensorRT's converter finds that half precision would not hold a value."""
    _build(graph, path, 16, None)


def quantize(graph: onnx.ModelProto, inputs: Inputs, path: Path) -> None:
    """Build a plan in INT8, calibrated on `inputs`; Ultralytics keeps the head's outputs in floating point."""
    # Its calibrators divide by 255, as its datasets hold bytes.
    batches = [{"img": torch.from_numpy(image[0]) * 255} for image in inputs]
    _build(graph, path, 8, DataLoader(batches))  # type: ignore[arg-type]  # a list will do


def quantize_with_accuracy_control(
    graph: onnx.ModelProto, inputs: Inputs, path: Path, validation: Validation, budget: Budget
) -> list[str]:
    """The same as `quantize`: TensorRT has no search for the layers that hurt, so none are added to the head's."""
    quantize(graph, inputs, path)
    return []


def _build(
    graph: onnx.ModelProto, path: Path, bits: int, calibration: DataLoader[dict[str, torch.Tensor]] | None
) -> None:
    from ultralytics.utils.export.engine import onnx2engine

    shape = tuple(size.dim_value for size in graph.graph.input[0].type.tensor_type.shape.dim)
    with tempfile.TemporaryDirectory() as scratch:
        given = Path(scratch) / "model.onnx"
        onnx.save(graph, given)
        onnx2engine(str(given), path, quantize=bits, shape=shape, dataset=calibration)
