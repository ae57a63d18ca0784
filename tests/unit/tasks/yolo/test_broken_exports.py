"""Exports that run without an error and are broken: each is seen by the figure that is there for it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from factories import checkpoints
from factories.stage_work import evaluate, load
from onnx import helper, numpy_helper

from alambique import config
from alambique.config import detect
from alambique.files import read_json, sha256, write_json
from alambique.layout import CARD, artifact_digest
from alambique.process.environment import prepare
from alambique.tasks.yolo.dataset import YoloDataset
from alambique.tasks.yolo.preprocess import preprocess, restore

prepare()

NAME = "pico-onnx-fp32"
THRESHOLD = 0.5
"""What this network finds it scores above; the half of that lies below."""


def measured(project: Path, target: Path) -> dict[str, Any]:
    params = config.load(project).model_copy(update={"evaluate": detect.Evaluate(threshold=THRESHOLD)})
    return evaluate(project, params, NAME, target)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, scenes: Path) -> Path:
    """A project whose test images are labelled with what its student is sure of, cut at the border."""
    root = checkpoints.project(tmp_path_factory.mktemp("broken") / "project", scenes)
    predict = load(checkpoints.candidate(root, NAME), threads=1)
    dataset = YoloDataset.load(root / "data")
    for image in dataset.images("test"):
        pixels, letterbox = preprocess(image, checkpoints.SIZE)
        found = predict(pixels)
        found = found[found[:, 4] >= THRESHOLD]
        low, high = np.split(restore(found[:, :4], letterbox), 2, axis=1)
        rows = np.hstack([found[:, 5:], (low + high) / 2, high - low])
        dataset.label(image).write_text("".join(f"{int(row[0])} {row[1]} {row[2]} {row[3]} {row[4]}\n" for row in rows))
    return root


@pytest.fixture(scope="module")
def sound(project: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return measured(project, tmp_path_factory.mktemp("sound"))


def broken(project: Path, tmp_path: Path, operator: str, constant: np.ndarray, **attributes: int) -> dict[str, Any]:
    """The measured export after its output went through one more operator, which the card knows of."""
    shutil.copytree(project, tmp_path / "project")
    folder = tmp_path / "project/candidates" / NAME
    model = onnx.load(folder / "model.onnx")
    output = model.graph.output[0].name
    for node in model.graph.node:
        node.output[:] = ["sound" if name == output else name for name in node.output]
    model.graph.initializer.append(numpy_helper.from_array(constant, "broken"))
    model.graph.node.append(helper.make_node(operator, ["sound", "broken"], [output], **attributes))
    onnx.checker.check_model(model)
    onnx.save(model, folder / "model.onnx")
    card = {**read_json(folder / CARD), "digest": artifact_digest(folder)}
    write_json(folder / CARD, {**card, "files": {**card["files"], "model.onnx": sha256(folder / "model.onnx")}})
    (tmp_path / "out").mkdir()
    return measured(tmp_path / "project", tmp_path / "out")


def test_a_sound_export_has_nothing_to_hide(sound: dict[str, Any]) -> None:
    assert sound["map50"] > 0.4
    assert sound["f1"] > 0.4
    assert sound["parity"]["agreement"] > 0.99


def test_halved_scores_are_seen_where_map_holds(project: Path, tmp_path: Path, sound: dict[str, Any]) -> None:
    halved = broken(project, tmp_path, "Mul", np.array([1, 1, 1, 1, 0.5, 1], np.float32))
    assert halved["map50_95"] == pytest.approx(sound["map50_95"], abs=0.01)
    assert halved["f1"] < 0.8 * sound["f1"]
    assert halved["confidence"] == pytest.approx(sound["confidence"] / 2, rel=0.05)
    assert halved["ece"] > sound["ece"]
    assert halved["parity"]["agreement"] < 0.2


def test_clipped_scores_are_seen_where_map50_holds(project: Path, tmp_path: Path, sound: dict[str, Any]) -> None:
    clipped = broken(project, tmp_path, "Min", np.array([*4 * [np.inf], THRESHOLD - 0.01, np.inf], np.float32))
    assert clipped["map50"] > 0.3 * sound["map50"]
    assert clipped["f1"] == clipped["parity"]["agreement"] == 0
    assert clipped["confidence"] < THRESHOLD < sound["confidence"]


@pytest.mark.parametrize(
    "columns",
    [
        pytest.param([1, 2, 3, 0, 4, 5], id="corners"),
        pytest.param([5, 4, 3, 2, 1, 0], id="back to front"),  # classes that nobody knows
    ],
)
def test_shuffled_outputs_agree_with_little(
    project: Path, tmp_path: Path, sound: dict[str, Any], columns: list[int]
) -> None:
    shuffled = broken(project, tmp_path, "Gather", np.array(columns, np.int64), axis=2)
    assert shuffled["map50_95"] < 0.5 * sound["map50_95"]
    assert shuffled["f1"] < 0.5 * sound["f1"]
    assert shuffled["parity"]["agreement"] < 0.4


@pytest.mark.parametrize("scale", [0.0, np.nan, np.inf])
def test_a_scale_that_leaves_no_number_finds_nothing(project: Path, tmp_path: Path, scale: float) -> None:
    zeroed = broken(project, tmp_path, "Mul", np.array(scale, np.float32))
    assert zeroed["map50_95"] == zeroed["f1"] == zeroed["parity"]["agreement"] == 0
    assert set(zeroed["recall"].values()) <= {0.0, None}
    assert zeroed["confidence"] is zeroed["ece"] is None
