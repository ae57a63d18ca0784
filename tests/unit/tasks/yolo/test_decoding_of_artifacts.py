from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from factories import checkpoints
from factories.stage_work import load

from alambique.errors import DataError, IntegrityError
from alambique.files import folder_sha256, read_json, sha256, write_json
from alambique.process.environment import prepare
from alambique.tasks.cards import read_card
from alambique.tasks.yolo.preprocess import preprocess

prepare()


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, scenes: Path) -> Path:
    root = checkpoints.project(tmp_path_factory.mktemp("predict") / "project", scenes)
    checkpoints.checkpoint(root)
    for name in ("pico-onnx-fp32", "pico-openvino-fp32"):
        checkpoints.candidate(root, name)
    return root


def best(project: Path, folder: str) -> np.ndarray:
    """The three best boxes of each test image, (3 × images, 6)."""
    predict = load(project / folder, threads=1)
    images = sorted((project / "data/images/test").iterdir())
    return np.concatenate([predict(preprocess(image, checkpoints.SIZE)[0])[:3] for image in images])


@pytest.mark.parametrize("name", ["pico-onnx-fp32", "pico-openvino-fp32"])
def test_a_runtime_finds_what_the_checkpoint_finds(project: Path, name: str) -> None:
    expected, found = best(project, "models/teacher/main"), best(project, f"candidates/{name}")
    assert expected[:, 4].max() > 0.5
    np.testing.assert_allclose(found, expected, atol=0.05)


@pytest.mark.parametrize("name", ["pico-onnx-fp32", "pico-openvino-fp32"])
def test_an_answer_is_not_overwritten_by_the_next(project: Path, name: str) -> None:
    predict = load(project / "candidates" / name, threads=1)
    first = predict(np.zeros((1, 3, checkpoints.SIZE, checkpoints.SIZE), np.float32))
    kept = first.copy()
    predict(np.ones((1, 3, checkpoints.SIZE, checkpoints.SIZE), np.float32))
    np.testing.assert_array_equal(first, kept)


@pytest.mark.parametrize(
    ("folder", "file"),
    [
        ("models/teacher/main", "weights.pt"),
        ("candidates/pico-onnx-fp32", "model.onnx"),
        ("candidates/pico-openvino-fp32", "model.bin"),
    ],
)
def test_a_file_with_one_other_bit_is_refused_by_name(project: Path, tmp_path: Path, folder: str, file: str) -> None:
    shutil.copytree(project / folder, tmp_path / "subject")
    content = bytearray((tmp_path / "subject" / file).read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "subject" / file).write_bytes(content)
    with pytest.raises(IntegrityError, match=file):
        load(tmp_path / "subject", threads=1)


def test_a_missing_file_is_refused_by_name(project: Path, tmp_path: Path) -> None:
    shutil.copytree(project / "candidates/pico-openvino-fp32", tmp_path / "subject")
    (tmp_path / "subject/model.bin").unlink()
    with pytest.raises(IntegrityError, match=r"model\.bin"):
        read_card(tmp_path / "subject")


def test_a_file_that_is_not_on_the_card_is_refused(project: Path, tmp_path: Path) -> None:
    shutil.copytree(project / "candidates/pico-onnx-fp32", tmp_path / "subject")
    (tmp_path / "subject/model.onnx.data").write_bytes(b"weights from elsewhere")
    with pytest.raises(IntegrityError, match="digest"):
        read_card(tmp_path / "subject")


def test_a_folder_without_a_card_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match=r"card\.json"):
        load(tmp_path, threads=1)


def test_an_unknown_runtime_is_refused(project: Path, tmp_path: Path) -> None:
    shutil.copytree(project / "candidates/pico-onnx-fp32", tmp_path / "subject")
    card = read_json(tmp_path / "subject/card.json")
    write_json(tmp_path / "subject/card.json", {**card, "runtime": "abacus"})
    with pytest.raises(DataError, match="abacus"):
        load(tmp_path / "subject", threads=1)


def test_an_export_that_is_not_end_to_end_is_refused(project: Path, tmp_path: Path) -> None:
    from ultralytics import YOLO

    shutil.copytree(project / "candidates/pico-onnx-fp32", tmp_path / "subject")
    shutil.copy(project / "models/teacher/main/weights.pt", tmp_path / "model.pt")
    shutil.move(YOLO(tmp_path / "model.pt").export(format="onnx", imgsz=64), tmp_path / "subject/model.onnx")
    card = read_json(tmp_path / "subject/card.json")
    digest = folder_sha256(tmp_path / "subject", exclude=("card.json",))
    files = {"model.onnx": sha256(tmp_path / "subject/model.onnx")}
    write_json(tmp_path / "subject/card.json", {**card, "files": files, "digest": digest})
    with pytest.raises(DataError, match="end-to-end"):
        load(tmp_path / "subject", threads=1)(np.zeros((1, 3, checkpoints.SIZE, checkpoints.SIZE), np.float32))
