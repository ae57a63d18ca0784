from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import subjects
from numpy.typing import NDArray

from alambique import config
from alambique.data.dataset import Dataset
from alambique.errors import IntegrityError
from alambique.files import folder_sha256, read_json, sha256
from alambique.layout import Candidate, checkpoint
from alambique.tasks import Metrics
from alambique.tasks.detect.export import export
from alambique.tasks.detect.predict import load
from alambique.tasks.detect.preprocess import preprocess

RUNTIMES = ["onnx", "openvino"]
PRUNED = checkpoint("pico", "pruned")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, scenes: Path) -> Path:
    """A project with a pruned student. Read-only, but for candidates of a new name."""
    root = subjects.project(tmp_path_factory.mktemp("pruned"), scenes)
    subjects.checkpoint(root, PRUNED, "pruned", "pico")
    return root


@pytest.fixture(scope="module", params=RUNTIMES)
def made(root: Path, request: pytest.FixtureRequest) -> tuple[Path, Metrics]:
    """A candidate's folder and metrics."""
    candidate = Candidate("pico", request.param, "fp32")
    folder = root / candidate.folder
    folder.mkdir(parents=True)
    return folder, export(root, config.load(root), candidate, folder)


def sorted_rows(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    """By score and then by place: engines order equal scores as they like."""
    return boxes[np.lexsort((*boxes[:, :4].round(1).T, -boxes[:, 4].round(4)))]


def test_every_runtime_finds_what_torch_finds(root: Path, made: tuple[Path, Metrics]) -> None:
    torch_finds, runtime_finds = load(root / PRUNED, 1), load(made[0], 1)
    for image in Dataset.load(root / "data").images("test"):
        pixels, _ = preprocess(image, subjects.SIZE)
        expected, found = torch_finds(pixels), runtime_finds(pixels)
        assert found.shape == expected.shape
        assert found[:, 4] == pytest.approx(expected[:, 4], abs=1e-4)
        best = expected[:, 4] > expected[20, 4]  # far from where the list is cut off
        np.testing.assert_allclose(
            sorted_rows(found[: best.sum()]), sorted_rows(expected[: best.sum()]), atol=0.02, rtol=0
        )


def test_card_promises_what_the_folder_holds(root: Path, made: tuple[Path, Metrics]) -> None:
    folder, metrics = made
    card = read_json(folder / "card.json")
    source = read_json(root / PRUNED / "card.json")
    assert card["candidate"] == folder.name == f"pico-{card['runtime']}-fp32"
    assert (folder / card["file"]).is_file()
    assert card["files"] == {path.name: sha256(path) for path in folder.iterdir() if path.name != "card.json"}
    assert card["digest"] == folder_sha256(folder, exclude=("card.json",))
    assert card["checkpoint_sha256"] == sha256(root / PRUNED / "weights.pt")
    assert card["input"] == {"name": "images", "shape": [1, 3, 64, 64], "dtype": "float32"}
    assert card["output"]["name"] == "output0"
    assert card["output"]["shape"] == [1, 84, 6]  # 8² + 4² + 2² places, fewer than 300
    assert card["classes"] == source["classes"]
    assert metrics == {
        "parameters": source["parameters"],
        "macs": source["macs"],
        "size_bytes": sum(path.stat().st_size for path in folder.iterdir() if path.name != "card.json"),
        "opset": 17,
    }


def test_equal_weights_give_equal_files(root: Path, made: tuple[Path, Metrics], tmp_path: Path) -> None:
    card = read_json(made[0] / "card.json")
    export(root, config.load(root), Candidate.parse(card["candidate"]), tmp_path)
    assert read_json(tmp_path / "card.json")["digest"] == card["digest"]


def test_artifact_names_neither_a_date_nor_this_machine(made: tuple[Path, Metrics]) -> None:
    for path in made[0].iterdir():
        assert str(Path.home()).encode() not in path.read_bytes()
        assert b"/tmp/" not in path.read_bytes()
    if (made[0] / "model.onnx").exists():
        keys = {entry.key for entry in onnx.load(made[0] / "model.onnx").metadata_props}
        assert "names" in keys
        assert "date" not in keys


def test_export_writes_nothing_beside_the_checkpoint(root: Path, made: tuple[Path, Metrics]) -> None:
    assert {path.name for path in (root / PRUNED).iterdir()} == {"weights.pt", "card.json"}


def test_a_changed_checkpoint_is_refused(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root / PRUNED, tmp_path / PRUNED)
    with (tmp_path / PRUNED / "weights.pt").open("ab") as file:
        file.write(b"x")
    with pytest.raises(IntegrityError, match="sha256"):
        export(tmp_path, config.load(root), Candidate("pico", "onnx", "fp32"), tmp_path / "target")
