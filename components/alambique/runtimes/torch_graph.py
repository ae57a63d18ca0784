"""A torch module as an ONNX graph, by torch's own exporter."""

from __future__ import annotations

import warnings
from typing import Any

import onnx
import torch
from torch import Tensor, nn


def to_onnx(
    module: nn.Module,
    example: tuple[Tensor, ...],
    inputs: tuple[str, ...],
    outputs: tuple[str, ...],
    opset: int,
    dynamic_shapes: Any = None,
) -> onnx.ModelProto:
    """Export a module in FP32; equal weights give equal bytes.

    Args:
        module: in evaluation mode.
        example: its inputs; sizes that are free have to differ from each other here.
        dynamic_shapes: of each input, its free dimensions, as `torch.export` takes them; None: all are fixed.
    """
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # of the names of its own dimensions
        program = torch.onnx.export(
            module,
            example,
            dynamo=True,
            dynamic_shapes=dynamic_shapes,
            input_names=list(inputs),
            output_names=list(outputs),
            opset_version=opset,
            external_data=False,
            verbose=False,
        )
    if program is None:
        raise RuntimeError("torch.onnx returned no program")
    graph: onnx.ModelProto = program.model_proto
    _remove_stack_traces(graph)
    return graph


def _remove_stack_traces(graph: onnx.ModelProto) -> None:
    """Remove where in the code each node comes from: paths of this machine."""
    for node in graph.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in (*graph.graph.value_info, *graph.graph.input, *graph.graph.output, *graph.graph.initializer):
        del value.metadata_props[:]
        value.doc_string = ""
    del graph.metadata_props[:]
    del graph.graph.metadata_props[:]
