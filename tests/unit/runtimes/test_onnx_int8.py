from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from factories import tiny_exportables

from alambique.files import sha256
from alambique.runtimes import load
from alambique.runtimes.base import DynamicInt8, Exportable, Quantization, StaticInt8, WeightOnly

ONNX = load("onnx")
OPERATORS = ("Conv", "Gemm", "MatMul", "Mul", "ReduceMean", "Sigmoid")


def int8_share(path: Path) -> float:
    """Of a graph's weights."""
    tensors = onnx.load(path).graph.initializer
    eight = {onnx.TensorProto.INT8, onnx.TensorProto.UINT8}
    sizes = [(tensor.data_type in eight, int(np.prod(tensor.dims))) for tensor in tensors]
    return sum(size for is_eight, size in sizes if is_eight) / sum(size for _, size in sizes)


@pytest.mark.parametrize("how", [StaticInt8(tiny_exportables.images(4), OPERATORS), DynamicInt8()])
def test_int8_files_are_equal_for_equal_inputs_and_compute_about_the_same(
    how: Quantization, written: Callable[[str], Path], classifier: Exportable, tmp_path: Path
) -> None:
    for name in ("first", "second"):
        ONNX.quantize(classifier, how, tmp_path / f"{name}.onnx")
    assert sha256(tmp_path / "first.onnx") == sha256(tmp_path / "second.onnx")
    assert int8_share(tmp_path / "first.onnx") > 0.8
    (image,) = tiny_exportables.images(1)
    exact, rounded = ONNX.open(written("onnx"), 1)(image)[0], ONNX.open(tmp_path / "first.onnx", 1)(image)[0]
    assert 0 < np.abs(rounded - exact).max() < 0.1


def test_nodes_that_a_task_keeps_stay_in_floating_point(tmp_path: Path) -> None:
    network = tiny_exportables.exportable(tiny_exportables.Regressor())
    kept: list[list[str]] = []

    def float_nodes(sources: object, output: str) -> list[str]:
        kept.append(tiny_exportables.last_convolution(sources, output))  # type: ignore[arg-type]
        return kept[-1]

    ONNX.quantize(network, StaticInt8(tiny_exportables.images(2), OPERATORS, float_nodes), tmp_path / "model.onnx")
    graph = onnx.load(tmp_path / "model.onnx").graph
    floats = {tensor.name for tensor in graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT}
    assert {node.name for node in graph.node if node.op_type == "Conv" and node.input[1] in floats} == set(kept[-1])


@pytest.mark.parametrize("bits", [8, 4])
def test_weights_alone_are_compressed_and_the_embedding_with_them(bits: int, tmp_path: Path) -> None:
    network, ids, past = tiny_exportables.tokens(), np.arange(6)[None], np.zeros((1, 0), np.float32)
    before = network.graph().SerializeToString()
    ONNX.write(network, tmp_path / "full.onnx")
    ONNX.quantize(network, WeightOnly(bits, "embedding"), tmp_path / "low.onnx")
    assert network.graph().SerializeToString() == before
    graph = onnx.load(tmp_path / "low.onnx").graph
    assert "MatMulNBits" in {node.op_type for node in graph.node}
    held = {tensor.name: tensor.data_type for tensor in graph.initializer}
    assert held["embedding_rounded"] == onnx.TensorProto.INT8
    exact, rounded = (ONNX.open(tmp_path / name, 1)(ids, past)[0] for name in ("full.onnx", "low.onnx"))
    assert 0 < np.abs(rounded - exact).max() < 0.5
