from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from factories import tiny_exportables

from alambique.files import folder_sha256
from alambique.runtimes import load
from alambique.runtimes.base import Array, Budget, Exportable, Program, StaticInt8, Validation
from alambique.runtimes.onnx_accuracy_control import fewest, rank, regions, to_float
from alambique.runtimes.onnx_int8 import float_nodes, prepared, static

OPERATORS = ("Add", "Conv", "Mul", "Sigmoid")
HOW = StaticInt8(tiny_exportables.images(8), OPERATORS, tiny_exportables.last_convolution)


@pytest.fixture(scope="session")
def network() -> Exportable:
    return tiny_exportables.exportable(tiny_exportables.Regressor())


@pytest.fixture(scope="session")
def graph(network: Exportable) -> onnx.ModelProto:
    return prepared(network.graph())


@pytest.fixture(scope="session")
def quantized(graph: onnx.ModelProto) -> onnx.ModelProto:
    return static(graph, HOW)


@pytest.fixture(scope="session")
def tail(graph: onnx.ModelProto) -> set[str]:
    return set(float_nodes(graph, HOW))


@pytest.fixture(scope="session")
def validation(network: Exportable, tmp_path_factory: pytest.TempPathFactory) -> Validation:
    """Scores 1 where FP32 is met, and 0 where the error is as large as the output."""
    path = tmp_path_factory.mktemp("exact") / "model.onnx"
    load("onnx").write(network, path)
    exact = load("onnx").open(path, 1)

    def score(program: Program, samples: Iterable[Any]) -> tuple[float, list[float]]:
        pairs = [(program(sample)[0], exact(sample)[0]) for sample in samples]
        scores = [max(0.0, 1 - float(np.abs(low - full).mean() / full.std())) for low, full in pairs]
        return float(np.mean(scores)), scores

    return Validation(tiny_exportables.images(12), score)


def convolutions(graph: onnx.ModelProto) -> list[str]:
    return [node.name for node in graph.graph.node if node.op_type == "Conv"]


def answer(graph: onnx.ModelProto, image: Array, path: Path) -> Array:
    onnx.save(graph, path)
    return load("onnx").open(path, 1)(image)[0]


@pytest.mark.parametrize("name", ["onnx", "openvino"])
def test_a_wrecked_network_is_recovered_with_few_float_layers(
    name: str, network: Exportable, validation: Validation, tmp_path: Path
) -> None:
    runtime, budget = load(name), Budget(1.0, 0.2)
    for folder in ("plain", "first", "second"):
        (tmp_path / folder).mkdir()
    plain = tmp_path / "plain" / runtime.file
    runtime.quantize(network, HOW, plain)
    assert validation.headline(runtime.open(plain, 1)) < budget.floor

    paths = [tmp_path / folder / runtime.file for folder in ("first", "second")]
    layers = [runtime.quantize_with_accuracy_control(network, HOW, path, validation, budget) for path in paths]
    assert validation.headline(runtime.open(paths[0], 1)) >= budget.floor
    assert 1 <= len(layers[0]) <= 2
    assert layers[0] == layers[1] == sorted(layers[0])
    assert folder_sha256(paths[0].parent) == folder_sha256(paths[1].parent)


def test_a_region_reaches_from_a_convolution_to_the_next(graph: onnx.ModelProto, tail: set[str]) -> None:
    stem, middle, deep, scores = convolutions(graph)
    by_name = regions(graph, tail)
    assert set(by_name) == {stem, middle, deep}
    assert by_name[stem] & set(convolutions(graph)) == {stem, middle}
    assert by_name[deep] >= {deep, scores}


def test_every_region_in_float_is_fp32_but_for_the_rounded_image(
    graph: onnx.ModelProto, quantized: onnx.ModelProto, tail: set[str], tmp_path: Path
) -> None:
    back = to_float(quantized, graph, set().union(*regions(graph, tail).values()))
    onnx.checker.check_model(back)
    assert [node.op_type for node in back.graph.node].count("QuantizeLinear") == 1
    assert all(tensor.data_type != onnx.TensorProto.INT8 for tensor in back.graph.initializer)
    image = np.rint(HOW.inputs[0] * 255) / 255
    low, full = answer(back, image, tmp_path / "low.onnx"), answer(graph, image, tmp_path / "full.onnx")
    np.testing.assert_allclose(low, full, atol=0.05)


def test_nothing_in_float_is_the_quantized_network(
    graph: onnx.ModelProto, quantized: onnx.ModelProto, tmp_path: Path
) -> None:
    image, same = HOW.inputs[0], to_float(quantized, graph, set())
    assert (answer(same, image, tmp_path / "a.onnx") == answer(quantized, image, tmp_path / "b.onnx")).all()


def test_the_sensitive_layer_is_ranked_first(
    graph: onnx.ModelProto, quantized: onnx.ModelProto, tail: set[str]
) -> None:
    watched = [node.output[0] for node in graph.graph.node if node.op_type == "Conv" and node.name in tail]
    ranked = rank(quantized, graph, regions(graph, tail), watched, HOW.inputs)
    assert ranked[0] == convolutions(graph)[0]


@pytest.mark.parametrize("needed", range(1, 12))
def test_the_fewest_that_hold_are_found_with_few_measurements(needed: int) -> None:
    asked: list[int] = []

    def holds(count: int) -> bool:
        asked.append(count)
        return count >= needed

    assert fewest(11, holds) == needed
    assert len(asked) <= 8
    assert len(set(asked)) == len(asked)


def test_all_are_restored_where_nothing_holds() -> None:
    assert fewest(5, lambda count: False) == 5
