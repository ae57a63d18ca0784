"""A detector in INT8 for ONNX Runtime: all but the head's tail, and with accuracy control all but what hurts most."""

from __future__ import annotations

from pathlib import Path

import onnx

from alambique.tasks import ptq_onnx
from alambique.tasks.detect import accuracy_control
from alambique.tasks.detect.calibration import Inputs
from alambique.tasks.detect.float_tail import float_tail
from alambique.tasks.detect.validation import Budget, Validation


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
    onnx.save(_quantized(ptq_onnx.prepared(graph), inputs), path)


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
    prepared = ptq_onnx.prepared(graph)
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


def _quantized(prepared: onnx.ModelProto, inputs: Inputs) -> onnx.ModelProto:
    return ptq_onnx.quantized(prepared, inputs, excluded=_tail(prepared))


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
