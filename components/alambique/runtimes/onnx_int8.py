"""Post-training quantization of ONNX graphs by ONNX Runtime's tools: static, dynamic, or of the weights alone."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static
from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer
from onnxruntime.quantization.shape_inference import quant_pre_process

from alambique.runtimes.base import Array, DynamicInt8, Quantization, StaticInt8, WeightOnly

BLOCK = 32
"""Weights that share a scale."""
ROUNDED_INPUTS = 4
"""MatMulNBits' accuracy level at which it rounds what it multiplies with to 8 bits, and products are of integers: more
than twice as fast with weights of 8 bits."""


def quantized(graph: onnx.ModelProto, how: Quantization) -> onnx.ModelProto:
    """An FP32 graph quantized by the tool for `how`."""
    match how:
        case StaticInt8():
            return static(prepared(graph), how)
        case DynamicInt8():
            # Products and embeddings.
            return _by_tool(prepared(graph), partial(quantize_dynamic, per_channel=True, weight_type=QuantType.QInt8))
        case WeightOnly():
            return _weight_only(graph, how)


def prepared(graph: onnx.ModelProto) -> onnx.ModelProto:
    """The graph as ONNX Runtime wants it before quantization: simplified, with the shapes of its tensors."""
    return _by_tool(graph, partial(quant_pre_process, skip_symbolic_shape=True))


def static(graph: onnx.ModelProto, how: StaticInt8) -> onnx.ModelProto:
    """A prepared graph in INT8: weights symmetric by channel, activations unsigned (on x86 the fastest).

    Args:
        graph: as of `prepared`, with one input.
        how: whose `symmetric` counts for nothing here.
    """
    tool = partial(
        quantize_static,
        calibration_data_reader=_Reader(graph.graph.input[0].name, how.inputs),
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=list(how.operators),
        nodes_to_exclude=float_nodes(graph, how),
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        # Ranges as they are on average: a single outlier would coarsen them for every image.
        extra_options={"CalibMovingAverage": True},
    )
    return _by_tool(graph, tool)


def float_nodes(graph: onnx.ModelProto, how: StaticInt8) -> list[str]:
    """Names of the nodes that stay in floating point."""
    if how.float_nodes is None:
        return []
    producers = producers_of_tensors(graph)
    sources = {
        node.name: (node.op_type, [producers[name] for name in node.input if name in producers])
        for node in graph.graph.node
    }
    return how.float_nodes(sources, producers[graph.graph.output[0].name])


def producers_of_tensors(graph: onnx.ModelProto) -> dict[str, str]:
    """The name of the node which computes each tensor, by the tensor's name."""
    return {output: node.name for node in graph.graph.node for output in node.output}


def _by_tool(graph: onnx.ModelProto, tool: Callable[[Path, Path], None]) -> onnx.ModelProto:
    """What a tool that reads one file and writes another makes of a graph."""
    with tempfile.TemporaryDirectory() as scratch:
        source, target = (Path(scratch) / f"{name}.onnx" for name in ("source", "target"))
        onnx.save(graph, source)
        tool(source, target)
        return onnx.load(target)


def _weight_only(graph: onnx.ModelProto, how: WeightOnly) -> onnx.ModelProto:
    """A graph whose products are of weights with a scale for every `BLOCK`."""
    logging.getLogger("onnxruntime.quantization.matmul_nbits_quantizer").setLevel(logging.WARNING)
    copy = onnx.ModelProto()
    copy.CopyFrom(graph)
    tool = MatMulNBitsQuantizer(copy, how.bits, BLOCK, accuracy_level=ROUNDED_INPUTS)
    tool.process()
    result: onnx.ModelProto = tool.model.model
    if how.embedding is not None:
        _compress_embedding(result, how.embedding)
    return result


def _compress_embedding(graph: onnx.ModelProto, name: str) -> None:
    """Keep each row of an embedding in 8 bits with a scale of its own: looked up, then multiplied.

    MatMulNBits knows products alone, and its tool look-ups in 4 bits alone, which cost too much of so small a part.
    """
    initializers = {tensor.name: tensor for tensor in graph.graph.initializer}
    (lookup,) = (
        node
        for node in graph.graph.node
        if node.op_type == "Gather" and name in node.input[0] and node.input[0] in initializers
    )
    table = initializers[lookup.input[0]]
    weights = onnx.numpy_helper.to_array(table)
    scale = np.maximum(np.abs(weights).max(1, keepdims=True) / 127, np.finfo(np.float32).tiny).astype(np.float32)
    rounded = np.rint(weights / scale).astype(np.int8)
    graph.graph.initializer.remove(table)
    graph.graph.initializer.extend(
        [
            onnx.numpy_helper.from_array(rounded, f"{name}_rounded"),
            onnx.numpy_helper.from_array(scale, f"{name}_scale"),
        ]
    )
    ids, result = lookup.input[1], lookup.output[0]
    nodes = [
        onnx.helper.make_node("Gather", [f"{name}_rounded", ids], [f"{name}_found"], axis=0),
        onnx.helper.make_node("Cast", [f"{name}_found"], [f"{name}_float"], to=onnx.TensorProto.FLOAT),
        onnx.helper.make_node("Gather", [f"{name}_scale", ids], [f"{name}_factor"], axis=0),
        onnx.helper.make_node("Mul", [f"{name}_float", f"{name}_factor"], [result]),
    ]
    place = list(graph.graph.node).index(lookup)
    graph.graph.node.remove(lookup)
    for offset, node in enumerate(nodes):
        graph.graph.node.insert(place + offset, node)


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    """Hands the inputs to ONNX Runtime one by one."""

    def __init__(self, name: str, inputs: Iterable[Array]) -> None:
        self.remaining = ({name: array} for array in inputs)

    def get_next(self) -> dict[str, Array] | None:
        return next(self.remaining, None)
