"""YOLO11 and YOLOv8 through the stages: their head has one branch, and what it finds needs suppression."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from factories import checkpoints, tiny_detection
from factories.stage_work import control, distill, export, prune, quantize, recipe, soft_labels
from ultralytics.utils.metrics import box_iou

from alambique import tasks
from alambique.config.detect import Params
from alambique.errors import ConfigurationError
from alambique.files import read_json, sha256
from alambique.layout import Candidate, checkpoint
from alambique.process.resume_dir import RESUME_FOLDER
from alambique.softlabels.reader import Cache
from alambique.stages.work import open_program
from alambique.tasks.yolo import class_selection, network
from alambique.tasks.yolo.export_head import IOU, MAX_BOXES
from alambique.tasks.yolo.quantization import float_nodes
from alambique.tasks.yolo.soft_labels import predict_raw

STEPS = 4
"""In which labelled and unlabelled images are seen once."""

DISTILLED, PRUNED = checkpoint("pico", "distilled", 0), checkpoint("pico", "pruned")


def asked(family: str, **changes: Any) -> Params:
    architecture = tiny_detection.FAMILIES[family].model_dump()
    teacher = {"main": {"network": architecture, "steps": 3}}
    return tiny_detection.params(**{"networks": {"pico": architecture}, "teacher": teacher, **changes})


@pytest.fixture(scope="module", params=["yolo11", pytest.param("yolov8", marks=pytest.mark.slow)])
def family(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def root(family: str, tmp_path_factory: pytest.TempPathFactory, scenes: Path) -> Path:
    """A project with a teacher of the family, its soft labels, and a distilled and a pruned student. Read-only."""
    root = tiny_detection.project(tmp_path_factory.mktemp("project") / family, scenes)
    checkpoints.checkpoint(root, architecture=tiny_detection.FAMILIES[family])
    for shard in (0, 1):
        soft_labels(root, asked(family), shard, tiny_detection.out(root, f"soft_labels/{shard}"))
    wide = tiny_detection.FAMILIES[family].model_copy(update={"scale": (0.34, 0.25, 256)})
    checkpoints.checkpoint(root, DISTILLED, "distilled", "pico", wide)
    checkpoints.checkpoint(root, PRUNED, "pruned", "pico", tiny_detection.FAMILIES[family])
    return root


def tail(path: Path) -> set[str]:
    """The kinds of nodes between a graph's output and the convolutions it comes from."""
    graph = onnx.load(path)
    makers = {output: node.name for node in graph.graph.node for output in node.output}
    producers = {
        node.name: (node.op_type, [makers[name] for name in node.input if name in makers]) for node in graph.graph.node
    }
    return {producers[name][0] for name in float_nodes(producers, makers[graph.graph.output[0].name])}


def parity_of(root: Path, params: Params, artifact: Path) -> dict[str, Any]:
    task = tasks.load("detect")
    programs = (open_program(task, folder, 1) for folder in (artifact, root / PRUNED))
    return task.parity(artifact, *programs, task.dataset(root / "data"), params)


def measured(root: Path, params: Params, folder: Path) -> dict[str, Any]:
    task = tasks.load("detect")
    return task.measure(folder, open_program(task, folder, 1), task.dataset(root / "data"), "test", params).metrics


def test_soft_labels_hold_each_object_once(root: Path, family: str) -> None:
    given = asked(family)
    cache = Cache.open(root / "soft_labels", recipe(root, given))
    for name in cache:
        boxes = torch.from_numpy(cache[name].boxes.astype(np.float32))
        assert 0 < len(boxes) <= 5
        overlap = box_iou(boxes, boxes).fill_diagonal_(0)
        assert (overlap < IOU + 0.02).all()  # the cache holds half precision


def test_a_student_is_trained_for_as_many_steps_as_its_control(root: Path, family: str, tmp_path: Path) -> None:
    (tmp_path / "control").mkdir()
    distilled = distill(root, asked(family), "pico", 0, tmp_path)
    controlled = control(root, asked(family), "pico", 0, tmp_path / "control")
    assert distilled["train_kd_loss"] > 0
    assert distilled["train_dfl_loss"] > 0
    assert "train_kd_loss" not in controlled
    assert distilled["steps"] == controlled["steps"] == STEPS
    assert distilled["parameters"] == network.parameters(
        network.build(tiny_detection.FAMILIES[family], tiny_detection.CLASSES, 0)
    )
    network.verify_loadable(tmp_path / "weights.pt")


def test_a_student_is_distilled_from_a_teacher_of_another_family(family: str, tmp_path: Path, scenes: Path) -> None:
    root = tiny_detection.project(tmp_path / "project", scenes)
    checkpoints.checkpoint(root)
    labels = {"min_score": 0.0, "max_boxes": 5}
    teacher = {"main": {"network": tiny_detection.NETWORK.model_dump()}}
    how = {"steps": STEPS, "min_label_probability": 0.0, "method": "hybrid"}
    given = asked(family, soft_labels=labels, teacher=teacher, distill=how)
    soft_labels(root, given, 0, tiny_detection.out(root, "soft_labels/0"))
    metrics = distill(root, given, "pico", 0, tiny_detection.out(root, DISTILLED))
    assert metrics["train_kd_loss"] > 0
    assert metrics["train_dis_loss"] > 0
    assert metrics["steps"] == STEPS
    network.verify_loadable(root / DISTILLED / "weights.pt")


def test_a_yolo26_is_distilled_from_such_a_teacher(root: Path, family: str, tmp_path: Path) -> None:
    how = {"steps": STEPS, "min_label_probability": 0.0, "method": "hybrid"}
    given = asked(family, networks={"pico": tiny_detection.NETWORK.model_dump()}, distill=how)
    metrics = distill(root, given, "pico", 0, tmp_path)
    assert metrics["train_kd_loss"] > 0
    assert metrics["train_dis_loss"] > 0
    assert network.has_one_to_one(network.load(tmp_path / "weights.pt"))


def test_the_best_weights_are_found_on_val(root: Path, family: str, tmp_path: Path) -> None:
    training = {"batch": 8, "learning_rate": 0.005, "val_interval": 2, "patience": 1}
    metrics = control(root, asked(family, training=training), "pico", 0, tmp_path)
    assert 0 <= metrics["val_map50_95"] <= 1


def test_a_training_goes_on_from_its_last_interval(
    root: Path, family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    monkeypatch.setenv(RESUME_FOLDER, str(tmp_path / "resume"))
    given = asked(family, distill={"steps": 6})
    for name in ("whole", "resumed"):
        control(root, given, "pico", 0, tiny_detection.out(tmp_path, name))
    assert [line for line in said if line.startswith("resuming after step 3 of 6")]
    assert sha256(tmp_path / "whole/weights.pt") == sha256(tmp_path / "resumed/weights.pt")


def test_a_pruned_student_recovers_and_stays_small(root: Path, family: str, tmp_path: Path) -> None:
    metrics = prune(root, asked(family, prune={"ratio": 0.2, "steps": STEPS}), "pico", tmp_path)
    assert metrics["train_kd_loss"] > 0
    assert metrics["parameters"] < metrics["parameters_before"]
    assert network.parameters(network.load(tmp_path / "weights.pt")) == metrics["parameters"]


@pytest.mark.parametrize("runtime", ["onnx", "openvino", "torchscript"])
def test_an_artifact_finds_what_its_checkpoint_finds(root: Path, family: str, runtime: str, tmp_path: Path) -> None:
    given = asked(family, runtimes=[runtime], int8=[])
    export(root, given, Candidate("pico", runtime, "fp32"), tmp_path)
    assert read_json(tmp_path / "card.json")["output"]["shape"] == [1, MAX_BOXES, 6]
    parity = parity_of(root, given, tmp_path)
    assert parity["agreement"] == 1
    assert parity["max_score_difference"] < 1e-4
    assert parity["max_output_difference"] < 0.01
    first, second = (measured(root, given, folder) for folder in (tmp_path, root / PRUNED))
    assert first["map50"] == pytest.approx(second["map50"], abs=1e-6)


@pytest.mark.parametrize("runtime", ["onnx", pytest.param("openvino", marks=pytest.mark.slow)])
def test_int8_leaves_suppression_and_decoding_in_floating_point(
    root: Path, family: str, runtime: str, tmp_path: Path
) -> None:
    given = asked(family, runtimes=[runtime], int8=[runtime], quantize={"images": 12})
    metrics = quantize(root, given, Candidate("pico", runtime, "int8"), tmp_path)
    assert metrics["within_budget"]
    if runtime == "onnx":
        assert {"NonMaxSuppression", "Softmax", "Conv"} <= tail(tmp_path / "model.onnx")
        assert not {"QuantizeLinear", "DequantizeLinear"} & tail(tmp_path / "model.onnx")
    parity = parity_of(root, given, tmp_path)
    assert parity["agreement"] > 0.5


def test_equal_weights_give_equal_graphs(root: Path) -> None:
    graphs = [tasks.load("detect").exportable(root / PRUNED).graph() for _ in range(2)]
    first, second = (graph.SerializeToString() for graph in graphs)
    assert first == second


def test_a_teacher_of_more_classes_becomes_one_of_the_datasets(family: str) -> None:
    model = network.build(tiny_detection.FAMILIES[family], ["cat", "dog", "eel"], 0).eval()
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    boxes, logits = predict_raw(model, image)
    fewer, chosen = predict_raw(class_selection.select(model, ["eel", "cat"]), image)
    torch.testing.assert_close(fewer, boxes)
    torch.testing.assert_close(chosen, logits[..., [2, 0]])


def test_runtimes_that_cannot_suppress_are_refused_before_any_work(family: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"runtimes: ncnn, engine cannot suppress .* pico, a {family}, needs"):
        asked(family, runtimes=["onnx", "ncnn", "engine"])
