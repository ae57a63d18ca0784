"""Accuracy control of an ONNX graph: which of its quantized layers cost most, and how they become float again.

The search is NNCF's (which ONNX Runtime has none of): rank by what each costs, restore the worst first, measure. What
is ranked is a region: a convolution and all that its output passes through up to the next convolutions, these included,
because one coarse range in it spoils the signal whatever is restored elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch

from alambique.runtimes.base import Array, StaticInt8
from alambique.runtimes.onnx_int8 import float_nodes, prepared, producers_of_tensors, static

RANKING_INPUTS = 8
"""The errors of a layer's quantization differ far less between inputs than between layers."""


def quantize(graph: onnx.ModelProto, how: StaticInt8, path: Path, holds: Callable[[Path], bool]) -> list[str]:
    """Quantize, then return to floating point what costs most, until the artifact holds its accuracy.

    Returns:
        the convolutions left in floating point, beside those of `how.float_nodes`, sorted by name.
    """
    ready = prepared(graph)
    tail = set(float_nodes(ready, how))
    quantized, candidates = static(ready, how), regions(ready, tail)
    last = [node.output[0] for node in ready.graph.node if node.op_type == "Conv" and node.name in tail]
    ranked = rank(quantized, ready, candidates, last or [ready.graph.output[0].name], how.inputs)

    def restore(count: int) -> bool:
        nodes = set().union(*(candidates[name] for name in ranked[:count]))
        onnx.save(to_float(quantized, ready, nodes), path)
        return holds(path)

    count = fewest(len(ranked), restore)
    restore(count)
    return sorted(set(candidates) & set().union(*(candidates[name] for name in ranked[:count])))


def regions(graph: onnx.ModelProto, tail: set[str]) -> dict[str, set[str]]:
    """The names of the nodes of each region, by its convolution's name, outside a graph's `tail`, in its order."""
    nodes = {node.name: node for node in graph.graph.node}
    consumers: dict[str, list[str]] = {name: [] for name in nodes}
    producers = producers_of_tensors(graph)
    for node in graph.graph.node:
        for source in {producers[name] for name in node.input if name in producers}:
            consumers[source].append(node.name)

    def reach(convolution: str) -> set[str]:
        reached, waiting = {convolution}, list(consumers[convolution])
        while waiting:
            name = waiting.pop()
            if name not in reached:
                reached.add(name)
                waiting += consumers[name] if nodes[name].op_type != "Conv" else []
        return reached

    return {name: reach(name) for name, node in nodes.items() if node.op_type == "Conv" and name not in tail}


def to_float(quantized: onnx.ModelProto, graph: onnx.ModelProto, names: set[str]) -> onnx.ModelProto:
    """The quantized graph with the nodes of these names in floating point again.

    They get their weights as they were, and what one of them gives to another is not rounded in between. What comes
    from outside stays rounded, as the nodes there need it.

    Args:
        quantized: made of `graph`, in FP32, by inserting quantizers and dequantizers.
    """
    result = onnx.ModelProto()
    result.CopyFrom(quantized)
    weights = {tensor.name: tensor for tensor in graph.graph.initializer}
    inside = {output for node in graph.graph.node if node.name in names for output in node.output}
    inputs = {node.name: node.input for node in graph.graph.node if node.name in names}
    restored: set[str] = set()
    for node in result.graph.node:
        for index, name in enumerate(inputs.get(node.name, [])):
            if name in weights or name in inside:
                node.input[index] = name
                restored |= {name} & set(weights)
    # A bias is dequantized under its own name.
    _keep_nodes(result, lambda node: restored.isdisjoint(node.output))
    held = {tensor.name for tensor in result.graph.initializer}
    result.graph.initializer.extend(weights[name] for name in sorted(restored - held))
    _drop_unused(result)
    return result


def rank(
    quantized: onnx.ModelProto,
    graph: onnx.ModelProto,
    candidates: dict[str, set[str]],
    watched: list[str],
    inputs: Sequence[Array],
) -> list[str]:
    """The regions by what their quantization costs, the worst first: that which, restored alone, leaves least error.

    The error is the mean square distance from FP32, by the mean square of FP32, mean over the watched tensors and the
    first inputs. mAP would not do: a network that is wrecked in two places scores 0 with either of them restored.

    Args:
        watched: tensors that both graphs have unrounded: those of the float nodes' convolutions, such as a detection
            head's before the best boxes are sorted out, or else the output.
    """
    some = inputs[:RANKING_INPUTS]
    exact = _watch(graph, watched, some)
    errors = {
        name: _error(_watch(to_float(quantized, graph, nodes), watched, some), exact)
        for name, nodes in candidates.items()
    }
    return sorted(errors, key=errors.__getitem__)


def fewest(total: int, holds: Callable[[int], bool]) -> int:
    """About the smallest count from 1 to `total` that holds, or `total` if none does.

    Doubling finds one, halving the gap below it a smaller one: so the count is exact where more of it never costs
    accuracy, and the measurements are few.
    """
    low, high = 0, 1
    while high < total and not holds(high):
        low, high = high, min(2 * high, total)
    while high - low > 1:
        middle = (low + high) // 2
        if holds(middle):
            high = middle
        else:
            low = middle
    return high


def _watch(graph: onnx.ModelProto, watched: list[str], inputs: Sequence[Array]) -> list[list[Array]]:
    """The watched tensors for each input."""
    opened = onnx.ModelProto()
    opened.CopyFrom(graph)
    outputs = {output.name for output in opened.graph.output}
    opened.graph.output.extend(onnx.ValueInfoProto(name=name) for name in watched if name not in outputs)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(opened.SerializeToString(), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return [session.run(watched, {name: array}) for array in inputs]


def _error(rounded: list[list[Array]], exact: list[list[Array]]) -> float:
    pairs = [pair for first, second in zip(rounded, exact, strict=True) for pair in zip(first, second, strict=True)]
    return float(np.mean([np.square(one - other).sum() / np.square(other).sum() for one, other in pairs]))


def _keep_nodes(graph: onnx.ModelProto, wanted: Callable[[onnx.NodeProto], bool]) -> None:
    kept = [node for node in graph.graph.node if wanted(node)]
    del graph.graph.node[:]
    graph.graph.node.extend(kept)


def _drop_unused(graph: onnx.ModelProto) -> None:
    """Remove the nodes and weights that no output depends on."""
    used = {output.name for output in graph.graph.output}
    # Nodes stand in the order of computation: from the last to the first, a node's consumers come before it.
    for node in reversed(graph.graph.node):
        if not used.isdisjoint(node.output):
            used.update(node.input)
    _keep_nodes(graph, lambda node: not used.isdisjoint(node.output))
    kept = [tensor for tensor in graph.graph.initializer if tensor.name in used]
    del graph.graph.initializer[:]
    graph.graph.initializer.extend(kept)
