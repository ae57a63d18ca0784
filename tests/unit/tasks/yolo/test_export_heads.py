from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from factories.stage_work import export

from alambique.config.heads import Heads
from alambique.files import sha256
from alambique.layout import Candidate
from alambique.stages.work import open_program
from alambique.tasks import load
from alambique.tasks.cards import read_card
from alambique.tasks.yolo.dataset import YoloDataset
from alambique.tasks.yolo.preprocess import preprocess

RUNTIMES = ("onnx", "openvino", "torchscript")


@pytest.fixture(scope="session")
def artifacts(project: Path, params: Heads) -> dict[str, Path]:
    folders = {}
    for runtime in RUNTIMES:
        candidate = Candidate("pico", runtime, "fp32")
        folders[runtime] = project / candidate.folder
        folders[runtime].mkdir(parents=True)
        export(project, params, candidate, folders[runtime])
    return folders


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_every_runtime_answers_as_the_checkpoint(
    artifacts: dict[str, Path], project: Path, data: YoloDataset, runtime: str
) -> None:
    pixels, _ = preprocess(data.images("test")[0], 64)
    expected = open_program(load(data.head), project / "models/pruned/pico", 1)(pixels)
    found = open_program(load(data.head), artifacts[runtime], 1)(pixels)
    assert [each.shape for each in found] == [each.shape for each in expected]
    apart = np.abs(found[0][0][:, None] - expected[0][0][None]).max(2)  # rows of equal scores may change places
    assert apart.min(0).max() < 5e-3
    assert apart.min(1).max() < 5e-3
    for one, other in zip(found[1:], expected[1:], strict=True):
        assert one == pytest.approx(other, abs=2e-3)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_the_card_says_what_comes_out(artifacts: dict[str, Path], runtime: str, data: YoloDataset) -> None:
    card = read_card(artifacts[runtime])
    assert card["task"] == data.head
    assert card["image_size"] == 64
    named = card["output"]["columns"]
    if data.head != "segment":
        assert len(named) == card["output"]["shape"][2]
    assert "no suppression" in card["output"]["units"]


def test_equal_weights_give_equal_files(
    artifacts: dict[str, Path], project: Path, params: Heads, tmp_path: Path
) -> None:
    export(project, params, Candidate("pico", "onnx", "fp32"), tmp_path)
    for path in tmp_path.iterdir():
        assert sha256(path) == sha256(artifacts["onnx"] / path.name), path.name


@pytest.mark.parametrize("runtime", ["onnx", "openvino"])
def test_the_example_finds_what_the_artifact_finds(
    artifacts: dict[str, Path], data: YoloDataset, runtime: str, tmp_path: Path
) -> None:
    image, folder = data.images("test")[0], artifacts[runtime]
    done = subprocess.run(
        [sys.executable, "example.py", str(image)], cwd=folder, capture_output=True, text=True, check=True
    )
    lines = [line.split() for line in done.stdout.splitlines()]
    pixels, _ = preprocess(image, 64)
    answer = load(data.head).predictor(folder, 1)(pixels)[0]
    sure = answer[answer[:, 4] >= 0.25]
    assert len(lines) == len(sure) > 0
    for line, row in zip(lines, sure, strict=True):
        assert (line[0], float(line[1])) == (data.classes[int(row[5])], pytest.approx(row[4], abs=2e-3))
        assert _points(data, line) == pytest.approx(_expected(data, row), abs=0.2)


def _points(data: YoloDataset, line: list[str]) -> Any:
    words = line[5:] if data.head == "segment" else line[2:]  # after "… pixels within"
    return np.array(words, float)


def _expected(data: YoloDataset, row: Any) -> Any:
    if data.head == "segment":
        return row[:4].clip(0, 64)
    points = row[6:].reshape(-1, 3 if data.head == "pose" else 2)[:, :2]
    return points.clip(0, 64).ravel()
