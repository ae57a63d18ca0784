"""What goes into an artifact and what comes out: the part of its card that a caller programs against."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import onnx

BOXES = {
    "columns": ["x1", "y1", "x2", "y2", "score", "class"],
    "units": "boxes in input pixels, by falling score, one for each object: no suppression needed",
}
PLACES = {
    "columns": ["x1", "y1", "x2", "y2", "a score for each class, in the order of `classes`"],
    "units": "boxes in input pixels, one for each place; the highest scores are the objects: no suppression needed",
}


class Signature(NamedTuple):
    """An artifact's one input and one output, each with name, shape and dtype."""

    input: dict[str, Any]
    output: dict[str, Any]


def tensor(name: str, shape: Sequence[int], dtype: str = "float32") -> dict[str, Any]:
    """A tensor as a card describes it."""
    return {"name": name, "shape": list(shape), "dtype": dtype}


def of_graph(graph: onnx.ModelProto) -> Signature:
    """The signature of an ONNX graph, which a runtime that converts it keeps."""
    return Signature(*(_described(value) for value in (graph.graph.input[0], graph.graph.output[0])))


def _described(value: onnx.ValueInfoProto) -> dict[str, Any]:
    kind = value.type.tensor_type
    dtype = str(onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type))
    return tensor(value.name, [size.dim_value for size in kind.shape.dim], dtype)
