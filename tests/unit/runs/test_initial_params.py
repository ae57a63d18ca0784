from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from factories import onnx_detectors
from factories.tiny_detection import CLASSES

from alambique import config, tasks
from alambique.config import read_yaml
from alambique.config.detect import Network, Params
from alambique.errors import ConfigurationError
from alambique.runs import initial_params, new_project
from alambique.tasks.yolo import network


def parsed(*changes: dict[str, Any]) -> Params:
    """The template's parameters with changes merged over them, the last winning."""
    content = read_yaml(new_project.template_dir() / "params.yaml")
    for change in changes:
        new_project._merge(content, change)
    params = config.parse(content, "params.yaml")
    assert isinstance(params, Params)
    return params


def given(folder: Path, family: str, scale: str) -> str:
    """A checkpoint of one of Ultralytics' scales, trained for other classes."""
    model = network.build(Network(family=family, scale=scale), CLASSES, seed=0)  # type: ignore[arg-type]
    network.save(model, folder / "given.pt", image_size=64)
    return str(folder / "given.pt")


def from_weights(weights: str, already: dict[str, Any]) -> Params:
    changes = initial_params.from_weights(tasks.load("detect"), weights, parsed(already), already, None)
    return parsed(changes, already)


def sized(train: int, unlabelled: int) -> Any:
    """A dataset, as far as `ceilings` looks."""
    sizes = {"train": train, "unlabelled": unlabelled}
    return SimpleNamespace(size=sizes.__getitem__, classes=["red", "white"])


@pytest.mark.parametrize(
    ("train", "unlabelled", "teacher", "distill", "interval"),
    [
        (41, 160, 2_000, 2_000, 100),
        (118_287, 0, 74_000, 74_000, 3_700),
        (1_000, 9_000, 2_000, 6_000, 300),
    ],
)
def test_trainings_over_large_datasets_may_be_longer(
    train: int, unlabelled: int, teacher: int, distill: int, interval: int
) -> None:
    content = read_yaml(new_project.template_dir() / "params.yaml")
    longer = initial_params.ceilings(config.parse(content, "params.yaml"), sized(train, unlabelled))
    new_project._merge(content, longer)
    params = config.parse(content, "params.yaml")
    assert (params.teacher["main"].steps, params.distill.steps) == (teacher, distill)
    assert params.prune.steps == distill // 2
    assert (params.training.val_interval, params.training.patience) == (interval, 5 * interval)


def test_lengths_that_are_given_stay() -> None:
    content = read_yaml(new_project.template_dir() / "params.yaml")
    content["teacher"]["main"]["steps"], content["distill"]["steps"] = 300, 400
    params = config.parse(content, "params.yaml")
    assert initial_params.ceilings(params, sized(10**6, 0)) == {"teacher": {}}


@pytest.mark.parametrize(
    ("family", "scale", "student", "start"),
    [
        ("yolo26", "n", (0.5, 0.125, 1024), "teacher"),
        ("yolo26", "s", (0.5, 0.25, 1024), "teacher"),
        ("yolo11", "n", (0.5, 0.125, 1024), "teacher"),
        ("yolo26", "m", (0.5, 0.5, 512), None),  # its blocks are others than those of a scale of three numbers
    ],
)
def test_the_networks_are_those_that_given_weights_allow(
    tmp_path: Path, family: str, scale: str, student: tuple[float, float, int], start: str | None
) -> None:
    params = from_weights(weights := given(tmp_path, family, scale), {})
    teacher, pico = params.teacher["main"], params.networks["pico"]
    assert (teacher.weights, teacher.network.family, teacher.network.scale) == (weights, family, scale)
    assert (pico.family, pico.scale, pico.weights) == (family, student, start)
    built = network.build(pico, ["a"], seed=0)
    if start:
        network.start_from(built, Path(weights), seed=0)


def test_networks_that_somebody_decided_stay(tmp_path: Path) -> None:
    weights = given(tmp_path, "yolo26", "s")
    already = {"networks": {"pico": {"scale": [0.5, 0.0625, 1024]}}, "teacher": {"main": {"network": {"scale": "n"}}}}
    params = from_weights(weights, already)
    assert (params.teacher["main"].network.scale, params.networks["pico"].scale) == ("n", (0.5, 0.0625, 1024))


def test_two_starts_of_a_teacher_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"--weights is .*given\.pt, and --params has other weights"):
        from_weights(given(tmp_path, "yolo26", "n"), {"teacher": {"main": {"weights": "s3://bucket/other.pt"}}})


def test_an_onnx_graph_teaches_as_it_is_and_its_students_start_from_scratch(tmp_path: Path) -> None:
    weights = str(onnx_detectors.finder(tmp_path / "model.onnx"))
    changes = initial_params.from_weights(tasks.load("detect"), weights, parsed(), {}, None)
    new_project.write_params(tmp_path / "params.yaml", {"task": "detect", "project": "tiny", **changes})
    params = config.load(tmp_path)
    teacher = params.teacher["main"]
    assert (teacher.source, teacher.weights, params.networks["pico"].weights) == ("fetch", weights, None)
    assert list(initial_params.notes(params, params)) == [
        f"teacher main: taken as it is from {weights}, an ONNX graph, which cannot be fine-tuned",
        "student pico: starts from scratch, as its control does",
    ]


@pytest.mark.parametrize("network", [{}, {"networks": {"pico": {"scale": "n", "weights": None}}}])
def test_weights_are_the_students_where_the_teacher_is_an_onnx_graph(tmp_path: Path, network: dict[str, Any]) -> None:
    weights = given(tmp_path, "yolo26", "n")
    already = {"teacher": {"main": {"source": "fetch", "weights": "/a/model.onnx"}}, **network}
    new_project.write_params(tmp_path / "params.yaml", {"task": "detect", "project": "tiny", **already})
    before = config.load(tmp_path)
    changes = initial_params.from_weights(tasks.load("detect"), weights, before, already, None)
    params = parsed(changes, already)
    assert params.teacher["main"].weights == "/a/model.onnx"
    assert params.networks["pico"].weights == (None if network else weights)


def test_the_notes_say_where_everything_starts() -> None:
    template = parsed()
    assert list(initial_params.notes(template, template)) == [
        "teacher main: trained from scratch; --weights gives it a better start",
        "student pico: starts from the teacher, narrowed to its size; its control starts from scratch",
    ]
    tuned = parsed({"teacher": {"main": {"weights": "yolo26n.pt", "steps": 9000}}})
    assert list(initial_params.notes(template, tuned)) == [
        "teacher main: fine-tuned from yolo26n.pt",
        "student pico: starts from the teacher, narrowed to its size; its control starts from yolo26n.pt, narrowed "
        "alike",
        "the dataset is large, so trainings may be longer than by default: teacher.main.steps 9,000",
    ]
    fetched = parsed(
        {"teacher": {"main": {"source": "fetch", "weights": "a.pt"}}, "networks": {"pico": {"weights": "b.pt"}}}
    )
    assert list(initial_params.notes(template, fetched)) == [
        "teacher main: taken as it is from a.pt",
        "student pico: starts from b.pt, as its control does",
    ]
