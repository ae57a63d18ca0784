from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from alambique import runtimes
from alambique.config.detect import Evaluate
from alambique.runtimes.base import Budget, Exportable, StaticInt8
from alambique.stages.quantize import Int8Artifact, QuantizationAttempts, report, within_budget
from alambique.tasks.yolo.dataset import YoloDataset
from alambique.tasks.yolo.evaluate import validation as validation_of
from alambique.tasks.yolo.preprocess import preprocess
from alambique.tasks.yolo.quantization import OPERATORS, float_nodes

SIZE = 64
SENSITIVE = {"/stem/Conv", "/middle/Conv"}

Inputs = list[NDArray[np.float32]]


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


def exportable(graph: onnx.ModelProto) -> Exportable:
    return Exportable(lambda: graph, lambda _: Detector(), (torch.zeros(1, 3, SIZE, SIZE),), 17)


def exported(bias: float = 300) -> onnx.ModelProto:
    """The detector with this constant in place of 300."""
    detector, made = Detector(), io.BytesIO()
    detector.stem.bias.data[0] = bias
    torch.onnx.export(detector.eval(), (torch.zeros(1, 3, SIZE, SIZE),), made, opset_version=17, dynamo=False)
    return onnx.load_from_string(made.getvalue())


@pytest.fixture(scope="module")
def graph() -> onnx.ModelProto:
    return exported(300)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory, scenes: Path, graph: onnx.ModelProto) -> YoloDataset:
    """The scenes; in val it is right what the detector finds best."""
    folder = tmp_path_factory.mktemp("judged")
    dataset = YoloDataset.load(Path(shutil.copytree(scenes, folder / "data")))
    onnx.save(graph, folder / "model.onnx")
    program = runtimes.load("onnx").open(folder / "model.onnx", 1)
    found = {image: program(preprocess(image, SIZE)[0])[0][0] for image in dataset.images("val")}
    threshold = np.quantile(np.concatenate([boxes[:, 4] for boxes in found.values()]), 0.9)
    for image, boxes in found.items():
        best = boxes[boxes[:, 4] > threshold] / SIZE
        centers, sizes = (best[:, :2] + best[:, 2:4]) / 2, best[:, 2:4] - best[:, :2]
        rows = [f"0 {x} {y} {width} {height}" for (x, y), (width, height) in zip(centers, sizes, strict=True)]
        dataset.label(image).write_text("\n".join(rows))
    return dataset


@pytest.fixture(scope="module")
def inputs(dataset: YoloDataset) -> Inputs:
    return [preprocess(image, SIZE)[0] for image in dataset.images("train")[:8]]


@pytest.fixture(scope="module", params=["onnx", "openvino"])
def runtime(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def attempt(
    graph: onnx.ModelProto,
    inputs: Inputs,
    dataset: YoloDataset,
    runtime: str,
    max_drop: float,
    folder: Path,
    retrain: Callable[[], Exportable] | None = None,
) -> QuantizationAttempts:
    how = StaticInt8(inputs, OPERATORS, float_nodes)
    validation = validation_of(dataset.classes, SIZE, dataset, Evaluate())
    return within_budget(runtimes.load(runtime), exportable(graph), how, validation, max_drop, folder, retrain)


@pytest.fixture(scope="module")
def controlled(
    graph: onnx.ModelProto,
    inputs: Inputs,
    dataset: YoloDataset,
    runtime: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> QuantizationAttempts:
    """With a budget that plain INT8 misses. Read-only."""
    return attempt(graph, inputs, dataset, runtime, 0.2, tmp_path_factory.mktemp("controlled"))


def test_a_wrecked_network_is_recovered_with_few_float_layers(controlled: QuantizationAttempts) -> None:
    plain, best = controlled.artifacts[0], controlled.best
    assert plain.headline < controlled.budget.floor <= best.headline
    assert best.method == "accuracy_control"
    assert best.float_layers
    assert set(best.float_layers) <= SENSITIVE


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
    dataset: YoloDataset,
    tmp_path: Path,
) -> None:
    retrain = partial(exportable, exported(constant))
    tried = attempt(graph, inputs, dataset, "onnx", max_drop, tmp_path, retrain)
    assert [artifact.method for artifact in tried.artifacts] == methods
    assert tried.best == tried.artifacts[-1]
    assert tried.best.headline >= tried.budget.floor > max(artifact.headline for artifact in tried.artifacts[:-1])
    assert tried.best.retrained is retrained
    assert bool(tried.best.float_layers) is (methods[-1] == "accuracy_control")
    assert tried.retrained_fp32 == pytest.approx(tried.budget.fp32, abs=0.02)


def test_nothing_more_is_tried_where_plain_int8_holds_the_budget(
    graph: onnx.ModelProto, inputs: Inputs, dataset: YoloDataset, runtime: str, tmp_path: Path
) -> None:
    def refuse() -> Exportable:
        raise AssertionError("trained in vain")

    tried = attempt(graph, inputs, dataset, runtime, 1.0, tmp_path, refuse)
    assert [(artifact.method, artifact.float_layers) for artifact in tried.artifacts] == [("ptq", [])]
    assert tried.retrained_fp32 is None


def test_weights_whose_fp32_misses_the_budget_are_not_searched(
    graph: onnx.ModelProto, inputs: Inputs, dataset: YoloDataset, tmp_path: Path
) -> None:
    worse = exported(0)
    for tensor in worse.graph.initializer:
        if tensor.name == "scores.weight":
            tensor.raw_data = bytes(len(tensor.raw_data))
    tried = attempt(graph, inputs, dataset, "onnx", 0.2, tmp_path, lambda: exportable(worse))
    assert tried.retrained_fp32 is not None
    assert tried.retrained_fp32 < tried.budget.floor
    assert (tried.best.method, tried.best.retrained) == ("accuracy_control", False)
    assert tried.best.headline >= tried.budget.floor


def test_accuracy_control_is_deterministic(
    graph: onnx.ModelProto,
    inputs: Inputs,
    dataset: YoloDataset,
    runtime: str,
    controlled: QuantizationAttempts,
    tmp_path: Path,
) -> None:
    again = attempt(graph, inputs, dataset, runtime, 0.2, tmp_path)
    first, second = (
        {artifact.name: artifact.read_bytes() for artifact in attempts.best.path.parent.iterdir()}
        for attempts in (controlled, again)
    )
    assert first == second


def test_the_report_holds_all_attempts() -> None:
    path = Path("model.onnx")
    artifacts = [Int8Artifact("ptq", path, 0.25, []), Int8Artifact("qat", path, 0.375, [], True)]
    content = report("pico-onnx-int8", "map50_95", QuantizationAttempts(Budget(0.5, 0.125), artifacts, [], 0.4375))
    assert [content[key] for key in ("method", "retrained", "within_budget", "drop")] == ["qat", True, True, 0.125]
    assert content["tried"] == {"ptq": 0.25, "qat": 0.375}
    assert content["retrained_fp32_map50_95"] == 0.4375


def test_a_missed_budget_is_warned_of_and_reported(warned: list[str]) -> None:
    artifacts = [Int8Artifact("accuracy_control", Path("model.onnx"), 0.25, ["stem"])]
    content = report("pico-onnx-int8", "map50_95", QuantizationAttempts(Budget(0.5, 0.125), artifacts, []))
    assert [content[key] for key in ("within_budget", "drop", "float_layers")] == [False, 0.25, 1]
    assert warned == [
        "pico-onnx-int8: map50_95 on val is 0.2500 in INT8 and 0.5000 in FP32, and quantize.max_drop allows 0.1250; "
        "the artifact is kept for the gates to judge"
    ]
