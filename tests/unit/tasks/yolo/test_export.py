from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from contextlib import nullcontext
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnx
import pytest
from factories import checkpoints
from factories.stage_work import export, load
from numpy.typing import NDArray

from alambique import config
from alambique.errors import IntegrityError
from alambique.evaluation.measures import Metrics
from alambique.files import folder_sha256, read_json, sha256
from alambique.layout import Candidate, checkpoint
from alambique.runtimes import unavailable
from alambique.tasks.yolo.dataset import YoloDataset
from alambique.tasks.yolo.preprocess import preprocess, restore

RUNTIMES = ["onnx", "openvino", "torchscript", "ncnn", pytest.param("executorch", marks=pytest.mark.slow)]
RUN_BY_TORCH = {"torchscript", "executorch"}
ALONE = """
import runpy, sys
blocked, sys.argv[:] = sys.argv[1].split(","), sys.argv[2:]
sys.modules.update(dict.fromkeys(blocked))  # an import of these fails as if they were not installed
runpy.run_path(sys.argv[0], run_name="__main__")
"""
PRUNED = checkpoint("pico", "pruned")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, scenes: Path) -> Path:
    """A project with a pruned student. Read-only, but for candidates of a new name."""
    root = checkpoints.project(tmp_path_factory.mktemp("pruned"), scenes)
    checkpoints.checkpoint(root, PRUNED, "pruned", "pico")
    return root


@pytest.fixture(scope="module", params=RUNTIMES)
def made(root: Path, request: pytest.FixtureRequest) -> tuple[Path, Metrics]:
    """A candidate's folder and metrics."""
    if reason := unavailable([request.param]).get(request.param):
        pytest.skip(reason)
    candidate = Candidate("pico", request.param, "fp32")
    folder = root / candidate.folder
    folder.mkdir(parents=True)
    return folder, export(root, config.load(root), candidate, folder)


def sorted_rows(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    """By score and then by place: engines order equal scores as they like."""
    return boxes[np.lexsort((*boxes[:, :4].round(1).T, -boxes[:, 4].round(4)))]


def test_every_runtime_finds_what_torch_finds(root: Path, made: tuple[Path, Metrics]) -> None:
    torch_finds, runtime_finds = load(root / PRUNED, 1), load(made[0], 1)
    for image in YoloDataset.load(root / "data").images("test"):
        pixels, _ = preprocess(image, checkpoints.SIZE)
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
    assert card["classes"] == source["classes"]
    assert card["arithmetic"] == "float32"
    opset = {"opset": 17} if card["runtime"] in {"onnx", "openvino"} else {}
    assert metrics == {
        "parameters": source["parameters"],
        "macs": source["macs"],
        "size_bytes": sum(path.stat().st_size for path in folder.glob("model.*")),
        **opset,
    }


def test_card_says_what_goes_in_and_what_comes_out(made: tuple[Path, Metrics]) -> None:
    card = read_json(made[0] / "card.json")
    places = 8**2 + 4**2 + 2**2  # fewer than 300
    if card["runtime"] == "ncnn":
        given, found = ("in0", [3, 64, 64]), ("out0", [places, 4 + len(card["classes"])])
    else:
        given, found = ("images", [1, 3, 64, 64]), ("output0", [1, places, 6])
    assert (card["input"]["name"], card["input"]["shape"]) == given
    assert (card["output"]["name"], card["output"]["shape"]) == found


def test_card_names_the_packages_with_a_part_in_it(made: tuple[Path, Metrics]) -> None:
    card = read_json(made[0] / "card.json")
    own = {
        "onnx": {"onnx", "onnxslim"},
        "openvino": {"onnx", "onnxslim", "openvino"},
        "torchscript": set(),
        "ncnn": {"ncnn", "pnnx"},
        "executorch": {"executorch"},
    }[card["runtime"]]
    assert set(card["producers"]) == {"alambique", "torch", "ultralytics"} | own
    assert card["producers"]["torch"] == version("torch")


def run_example(folder: Path, image: Path) -> list[tuple[str, NDArray[np.float64]]]:
    """What the folder's example.py prints of an image, where nothing but its runtime can be imported."""
    blocked = {"alambique", "ultralytics", "torch"}
    if read_json(folder / "card.json")["runtime"] in RUN_BY_TORCH:
        blocked.remove("torch")
    command = [sys.executable, "-c", ALONE, ",".join(blocked), str(folder / "example.py"), str(image)]
    lines = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300).stdout.splitlines()
    return [(line.split()[0], np.array(line.split()[1:], float)) for line in lines]


def ours(folder: Path, image: Path) -> list[tuple[str, NDArray[np.float64]]]:
    """The same boxes by our own reading and inference."""
    pixels, letterbox = preprocess(image, checkpoints.SIZE)
    boxes = load(folder, 1)(pixels)
    boxes = boxes[boxes[:, 4] >= 0.25]
    corners = restore(boxes[:, :4], letterbox) * ([letterbox.width, letterbox.height] * 2)
    classes = read_json(folder / "card.json")["classes"]
    return [(classes[int(box[5])], np.array([box[4], *place])) for box, place in zip(boxes, corners, strict=True)]


def test_example_needs_only_the_runtime_and_finds_the_same(root: Path, made: tuple[Path, Metrics]) -> None:
    image = min((root / "data/images/test").iterdir())
    expected, found = ours(made[0], image), run_example(made[0], image)
    assert len(expected) > 3
    assert [name for name, _ in found] == [name for name, _ in expected]
    np.testing.assert_allclose([row for _, row in found], [row for _, row in expected], atol=0.06)


def test_equal_weights_give_equal_files(root: Path, made: tuple[Path, Metrics], tmp_path: Path) -> None:
    card = read_json(made[0] / "card.json")
    if card["runtime"] == "torchscript":
        pytest.skip("only from fresh processes: see the runtime's own tests")
    export(root, config.load(root), Candidate.parse(card["candidate"]), tmp_path)
    assert read_json(tmp_path / "card.json")["digest"] == card["digest"]


def test_artifact_names_neither_a_date_nor_this_machine(made: tuple[Path, Metrics]) -> None:
    for path in made[0].iterdir():
        with zipfile.ZipFile(path) if zipfile.is_zipfile(path) else nullcontext() as archive:
            parts = [archive.read(name) for name in archive.namelist()] if archive else [path.read_bytes()]
        for part in parts:
            assert str(Path.home()).encode() not in part
            assert b"/tmp/" not in part
            assert b"site-packages" not in part
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
