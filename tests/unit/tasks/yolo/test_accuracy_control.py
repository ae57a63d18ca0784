from __future__ import annotations

import io
import shutil
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from alambique.tasks.detect.accuracy_control import fewest, makers, rank, regions, to_float
from alambique.tasks.detect.calibration import Inputs
from alambique.tasks.detect.predict import open_artifact
from alambique.tasks.detect.preprocess import preprocess
from alambique.tasks.detect.quantize import Made, quantizer, within_budget
from alambique.tasks.detect.validation import Budget, Validation
from torch import Tensor, nn

from alambique.config.detect import Evaluate
from alambique.data.dataset import Dataset

SIZE = 64
SENSITIVE = {"/stem/Conv", "/middle/Conv"}
TAIL = {"/boxes/Conv", "/scores/Conv"}


class Detector(nn.Module):
    """Boxes of one class at the points of a grid. A constant channel of 300 makes one scale for the stem's output too
    coarse for the other channels; the network itself makes nothing of it."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Conv2d(3, 8, 8, stride=8)
        self.middle = nn.Conv2d(8, 8, 3, padding=1)
        self.deep = nn.Conv2d(8, 8, 3, padding=1)
        self.boxes = nn.Conv2d(8, 4, 1)
        self.scores = nn.Conv2d(8, 1, 1)
        self.stem.weight.data[0] = 0
        self.stem.bias.data[0] = 300
        self.middle.weight.data[:, 0] = 0
        self.scores.weight.data *= 10
        ys, xs = torch.meshgrid(torch.arange(8.0) * 8, torch.arange(8.0) * 8, indexing="ij")
        self.register_buffer("grid", torch.stack([xs, ys, xs + 8, ys + 8], -1).reshape(1, -1, 4))

    def forward(self, images: Tensor) -> Tensor:
        """(1, 3, 64, 64) → (1, 64, 6)."""
        features = nn.functional.silu(self.stem(images))
        features = nn.functional.silu(self.middle(features))
        features = nn.functional.silu(self.deep(features))
        boxes = self.grid + self.boxes(features).flatten(2).transpose(1, 2)
        scores = self.scores(features).flatten(2).transpose(1, 2).sigmoid()
        return torch.cat([boxes, scores, torch.zeros_like(scores)], 2)


def exported(bias: float) -> onnx.ModelProto:
    """The detector with this constant in place of 300."""
    detector, made = Detector(), io.BytesIO()
    detector.stem.bias.data[0] = bias
    torch.onnx.export(detector.eval(), (torch.zeros(1, 3, SIZE, SIZE),), made, opset_version=17, dynamo=False)
    return onnx.load_from_string(made.getvalue())


@pytest.fixture(scope="module")
def graph() -> onnx.ModelProto:
    return exported(300)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory, scenes: Path, graph: onnx.ModelProto) -> Dataset:
    """The scenes; in val it is right what the detector finds best."""
    folder = tmp_path_factory.mktemp("judged")
    dataset = Dataset.load(Path(shutil.copytree(scenes, folder / "data")))
    onnx.save(graph, folder / "model.onnx")
    predict = open_artifact(folder / "model.onnx", "onnx", 1)
    found = {image: predict(preprocess(image, SIZE)[0]) for image in dataset.images("val")}
    threshold = np.quantile(np.concatenate([boxes[:, 4] for boxes in found.values()]), 0.9)
    for image, boxes in found.items():
        best = boxes[boxes[:, 4] > threshold] / SIZE
        centers, sizes = (best[:, :2] + best[:, 2:4]) / 2, best[:, 2:4] - best[:, :2]
        rows = [f"0 {x} {y} {width} {height}" for (x, y), (width, height) in zip(centers, sizes, strict=True)]
        dataset.label(image).write_text("\n".join(rows))
    return dataset


@pytest.fixture(scope="module")
def inputs(dataset: Dataset) -> Inputs:
    return [preprocess(image, SIZE)[0] for image in dataset.images("train")[:8]]


@pytest.fixture(params=["onnx", "openvino"])
def runtime(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def made(
    graph: onnx.ModelProto, inputs: Inputs, dataset: Dataset, runtime: str, max_drop: float, folder: Path
) -> tuple[Made, Budget]:
    validation = Validation(dataset, dataset.classes, SIZE, Evaluate())
    tried = within_budget(quantizer(runtime), graph, inputs, validation, runtime, max_drop, folder)
    return tried.best, tried.budget


def test_a_wrecked_network_is_recovered_with_few_float_layers(
    graph: onnx.ModelProto, inputs: Inputs, dataset: Dataset, runtime: str, tmp_path: Path
) -> None:
    (tmp_path / "generous").mkdir()
    plain, _ = made(graph, inputs, dataset, runtime, 1.0, tmp_path / "generous")
    assert (plain.method, plain.float_layers) == ("ptq", [])

    controlled, budget = made(graph, inputs, dataset, runtime, 0.2, tmp_path)
    assert plain.map50_95 < budget.floor <= controlled.map50_95
    assert controlled.method == "accuracy_control"
    assert controlled.float_layers
    assert set(controlled.float_layers) <= SENSITIVE


@pytest.mark.parametrize(
    ("constant", "max_drop", "methods", "retrained"),
    [
        (0, 0.2, ["ptq", "qat"], True),  # what was retrained holds the budget: no layer stays in float
        (60, 0.05, ["ptq", "qat", "accuracy_control"], True),  # it loses less: layers are sought in it
        (3000, 0.2, ["ptq", "qat", "accuracy_control"], False),  # it loses more: they are sought in the first weights
    ],
)
def test_a_missed_budget_is_trained_for_before_layers_stay_in_float(
    constant: float,
    max_drop: float,
    methods: list[str],
    retrained: bool,
    graph: onnx.ModelProto,
    inputs: Inputs,
    dataset: Dataset,
    runtime: str,
    tmp_path: Path,
) -> None:
    validation = Validation(dataset, dataset.classes, SIZE, Evaluate())
    tool = quantizer(runtime)
    tried = within_budget(tool, graph, inputs, validation, runtime, max_drop, tmp_path, lambda: exported(constant))
    assert [each.method for each in tried.made] == methods
    assert tried.best == tried.made[-1]
    assert tried.best.map50_95 >= tried.budget.floor > max(each.map50_95 for each in tried.made[:-1])
    assert tried.best.retrained is retrained
    assert bool(tried.best.float_layers) is (methods[-1] == "accuracy_control")
    assert tried.retrained_fp32 == pytest.approx(tried.budget.fp32, abs=0.02)


def test_nothing_is_trained_where_plain_int8_holds_the_budget(
    graph: onnx.ModelProto, inputs: Inputs, dataset: Dataset, runtime: str, tmp_path: Path
) -> None:
    def refuse() -> onnx.ModelProto:
        raise AssertionError("trained in vain")

    validation = Validation(dataset, dataset.classes, SIZE, Evaluate())
    tried = within_budget(quantizer(runtime), graph, inputs, validation, runtime, 1.0, tmp_path, refuse)
    assert [each.method for each in tried.made] == ["ptq"]
    assert tried.retrained_fp32 is None


def test_weights_whose_fp32_misses_the_budget_are_not_searched(
    graph: onnx.ModelProto, inputs: Inputs, dataset: Dataset, tmp_path: Path
) -> None:
    validation = Validation(dataset, dataset.classes, SIZE, Evaluate())
    worse = exported(0)
    for tensor in worse.graph.initializer:
        if tensor.name == "scores.weight":
            tensor.raw_data = bytes(len(tensor.raw_data))
    tried = within_budget(quantizer("onnx"), graph, inputs, validation, "onnx", 0.2, tmp_path, lambda: worse)
    assert tried.retrained_fp32 is not None
    assert tried.retrained_fp32 < tried.budget.floor
    assert (tried.best.method, tried.best.retrained) == ("accuracy_control", False)
    assert tried.best.map50_95 >= tried.budget.floor


def test_accuracy_control_is_deterministic(
    graph: onnx.ModelProto, inputs: Inputs, dataset: Dataset, runtime: str, tmp_path: Path
) -> None:
    files = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        path = made(graph, inputs, dataset, runtime, 0.2, tmp_path / name)[0].path
        files.append({each.name: each.read_bytes() for each in path.parent.iterdir()})
    assert files[0] == files[1]


def quantized(graph: onnx.ModelProto, inputs: Inputs, folder: Path) -> onnx.ModelProto:
    quantizer("onnx").quantize(graph, inputs, folder / "model.onnx")
    return onnx.load(folder / "model.onnx")


def answer(graph: onnx.ModelProto, pixels: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {graph.graph.input[0].name: pixels})[0])


def test_a_region_reaches_from_a_convolution_to_the_next(graph: onnx.ModelProto) -> None:
    found = regions(graph, TAIL)
    assert set(found) == {"/stem/Conv", "/middle/Conv", "/deep/Conv"}
    assert {name for name in found["/stem/Conv"] if name.endswith("Conv")} == SENSITIVE
    assert found["/deep/Conv"] > TAIL


def test_every_region_in_float_is_fp32_but_for_the_rounded_image(
    graph: onnx.ModelProto, inputs: Inputs, tmp_path: Path
) -> None:
    everything = set().union(*regions(graph, TAIL).values())
    back = to_float(quantized(graph, inputs, tmp_path), graph, everything)
    onnx.checker.check_model(back)
    assert [node.op_type for node in back.graph.node].count("QuantizeLinear") == 1
    assert all(tensor.data_type != onnx.TensorProto.INT8 for tensor in back.graph.initializer)
    rounded = np.rint(inputs[0] * 255) / 255  # as the scenes' pixels are anyway
    np.testing.assert_allclose(answer(back, rounded), answer(graph, rounded), atol=0.05)


def test_nothing_in_float_is_the_quantized_network(graph: onnx.ModelProto, inputs: Inputs, tmp_path: Path) -> None:
    low = quantized(graph, inputs, tmp_path)
    assert (answer(to_float(low, graph, set()), inputs[0]) == answer(low, inputs[0])).all()


def test_the_sensitive_layer_is_ranked_first(graph: onnx.ModelProto, inputs: Inputs, tmp_path: Path) -> None:
    watched = [name for name, node in makers(graph).items() if node in TAIL]
    ranked = rank(quantized(graph, inputs, tmp_path), graph, regions(graph, TAIL), watched, inputs)
    assert ranked[0] == "/stem/Conv"


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
