"""Names, shapes and data types of what goes in and out of an artifact, from what it is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alambique.runtimes.base import Exportable, TensorSpec

if TYPE_CHECKING:
    import onnx
    from torch import nn


def of_graph(graph: onnx.ModelProto) -> list[TensorSpec]:
    """Of an ONNX graph, which a runtime that converts it keeps: inputs, then outputs."""
    return [_of_value(value) for value in (*graph.graph.input, *graph.graph.output)]


def of_module(network: Exportable, module: nn.Module) -> list[TensorSpec]:
    """Of a torch module, by running it on the network's example: inputs, then outputs."""
    import torch

    with torch.inference_mode():
        outputs = module(*network.example)
    names = (*network.inputs, *network.outputs)
    tensors = (*network.example, *(outputs if isinstance(outputs, tuple) else (outputs,)))
    return [
        TensorSpec(name, list(tensor.shape), str(tensor.dtype).removeprefix("torch."))
        for name, tensor in zip(names, tensors, strict=True)
    ]


def _of_value(value: onnx.ValueInfoProto) -> TensorSpec:
    import onnx

    kind = value.type.tensor_type
    shape = [size.dim_value if size.HasField("dim_value") else -1 for size in kind.shape.dim]
    return TensorSpec(value.name, shape, str(onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)))
