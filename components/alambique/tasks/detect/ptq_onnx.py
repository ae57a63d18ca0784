"""Post-training quantization by ONNX Runtime, for itself.

NNCF quantizes ONNX graphs, too, but leaves the activation functions in float, and every activation is turned to float
and back: a YOLO26n of its making took 46 ms where FP32 took 17 ms and this one 11 ms.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from alambique.tasks.detect import accuracy_control
from alambique.tasks.detect.calibration import Inputs
from alambique.tasks.detect.float_tail import float_tail
from alambique.tasks.detect.validation import Budget, Validation

QUANTIZED = ["Add", "Concat", "Conv", "MaxPool", "Mul", "Resize", "Sigmoid", "Split"]
"""What is computed in INT8. With the convolutions alone, every activation would be turned to float and back: no faster
than FP32."""


def export(graph: onnx.ModelProto, path: Path) -> None:
    """Write the graph as it is, in FP32."""
    onnx.save(graph, path)


def quantize(graph: onnx.ModelProto, inputs: Inputs, path: Path) -> None:
    """Quantize all but the tail: weights symmetric by channel, activations unsigned (on x86 the fastest).

    Args:
        graph: in FP32.
        inputs: to measure the activations on.
        path: where the quantized graph goes.
    """
    onnx.save(_quantized(_prepared(graph), inputs), path)


def quantize_with_accuracy_control(
    graph: onnx.ModelProto, inputs: Inputs, path: Path, validation: Validation, budget: Budget
) -> list[str]:
    """Quantize, then return to floating point what hurts most, until the artifact's mAP on val is within the budget.

    Args:
        graph, inputs, path: as of `quantize`.
        validation: measures the artifact.
        budget: says what it may be.
    Returns:
        the convolutions left in floating point, beside the tail's, sorted by name.
    """
    prepared = _prepared(graph)
    quantized = _quantized(prepared, inputs)
    regions = accuracy_control.regions(prepared, set(_tail(prepared)))
    ranked = accuracy_control.rank(quantized, prepared, regions, _last_convolutions(prepared), inputs)

    def restore(count: int) -> bool:
        nodes = set().union(*(regions[name] for name in ranked[:count]))
        onnx.save(accuracy_control.to_float(quantized, prepared, nodes), path)
        return validation.map50_95(path, "onnx") >= budget.floor

    count = accuracy_control.fewest(len(ranked), restore)
    restore(count)
    return sorted(set(regions) & set().union(*(regions[name] for name in ranked[:count])))


def _prepared(graph: onnx.ModelProto) -> onnx.ModelProto:
    """The graph as ONNX Runtime wants it before quantization: simplified, with the shapes of its tensors."""
    with tempfile.TemporaryDirectory() as scratch:
        given, prepared = (Path(scratch) / f"{name}.onnx" for name in ("given", "prepared"))
        onnx.save(graph, given)
        quant_pre_process(given, prepared, skip_symbolic_shape=True)
        return onnx.load(prepared)


def _quantized(prepared: onnx.ModelProto, inputs: Inputs) -> onnx.ModelProto:
    with tempfile.TemporaryDirectory() as scratch:
        given, made = (Path(scratch) / f"{name}.onnx" for name in ("given", "made"))
        onnx.save(prepared, given)
        quantize_static(
            given,
            made,
            _Reader(prepared.graph.input[0].name, inputs),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=QUANTIZED,
            nodes_to_exclude=_tail(prepared),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            # Ranges as they are on average: a single outlier would coarsen them for every image.
            extra_options={"CalibMovingAverage": True},
        )
        return onnx.load(made)


def _tail(graph: onnx.ModelProto) -> list[str]:
    makers = accuracy_control.makers(graph)
    producers = {
        node.name: (node.op_type, [makers[name] for name in node.input if name in makers]) for node in graph.graph.node
    }
    return float_tail(producers, makers[graph.graph.output[0].name])


def _last_convolutions(graph: onnx.ModelProto) -> list[str]:
    """The outputs of the tail's convolutions."""
    tail = set(_tail(graph))
    return [node.output[0] for node in graph.graph.node if node.op_type == "Conv" and node.name in tail]


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    """Hands the inputs to ONNX Runtime one by one."""

    def __init__(self, name: str, inputs: Inputs) -> None:
        self.remaining = ({name: each} for each in inputs)

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        return next(self.remaining, None)
