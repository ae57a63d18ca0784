from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from factories import checkpoints
from factories.stage_work import evaluate, load
from PIL import Image

from alambique import config
from alambique.config import detect
from alambique.errors import DataError, IntegrityError
from alambique.files import read_json, sha256, write_json
from alambique.process.environment import prepare
from alambique.tasks.yolo import average_precision, bootstrap
from alambique.tasks.yolo.average_precision import Detections
from alambique.tasks.yolo.dataset import YoloDataset
from alambique.tasks.yolo.preprocess import preprocess, restore

prepare()


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, scenes: Path) -> Path:
    """A project whose test labels are every other box its teacher finds, slightly moved: mAP is neither 0 nor 1."""
    root = checkpoints.project(tmp_path_factory.mktemp("evaluate") / "project", scenes)
    dataset = YoloDataset.load(root / "data")
    test = dataset.images("test")
    Image.open(test[0]).resize((64, 40)).save(test[0])  # one image that is not square
    predict = load(checkpoints.checkpoint(root), threads=1)
    jitter = np.random.default_rng(0)
    for image in test:
        pixels, letterbox = preprocess(image, checkpoints.SIZE)
        found = predict(pixels)[:12]
        shares = restore(found[:, :4], letterbox)
        whole = (np.minimum(shares[:, 2] - shares[:, 0], shares[:, 3] - shares[:, 1]) > 0.1) & (found[:, 4] > 0.1)
        rows = [
            f"{int(index)} {(x1 + x2) / 2} {(y1 + y2) / 2} {x2 - x1} {y2 - y1}\n"
            for index, (x1, y1, x2, y2) in zip(found[whole, 5], _moved(shares[whole], jitter), strict=True)
        ]
        dataset.label(image).write_text("".join(rows[::2]))
    dataset.label(test[1]).unlink()  # background
    checkpoints.candidate(root, "pico-onnx-fp32")
    return root


def _moved(boxes: np.ndarray, jitter: np.random.Generator) -> np.ndarray:
    return np.sort(np.clip(boxes + jitter.normal(0, 0.02, boxes.shape), 0, 1).reshape(-1, 2, 2), axis=1).reshape(-1, 4)


def measure(project: Path, subject: str, target: Path) -> dict[str, Any]:
    target.mkdir(exist_ok=True)
    return evaluate(project, config.load(project), subject, target)


def rows(target: Path) -> list[dict[str, Any]]:
    return pa.ipc.open_file(target / "images.arrow").read_all().to_pylist()


def test_figures_are_those_of_yolo_val(project: Path, tmp_path: Path) -> None:
    from ultralytics import YOLO

    ours = measure(project, "teacher-main", tmp_path / "ours")
    shutil.copytree(project / "data", tmp_path / "data")  # yolo val writes a cache beside the labels
    theirs = YOLO(project / "models/teacher/main/weights.pt").val(
        data=tmp_path / "data/data.yaml",
        split="test",
        imgsz=checkpoints.SIZE,
        rect=False,
        nms=False,  # the head that gives final boxes
        conf=0.001,
        batch=1,
        workers=0,
        plots=False,
        project=tmp_path / "runs",
    )
    assert 0.05 < ours["map50_95"] < 0.95
    assert ours["map50_95"] == pytest.approx(theirs.box.map, abs=1e-3)
    assert ours["map50"] == pytest.approx(theirs.box.map50, abs=1e-3)
    names = list(ours["ap"])
    for index, value in zip(theirs.box.ap_class_index, theirs.box.ap.tolist(), strict=True):
        assert ours["ap"][names[index]] == pytest.approx(value, abs=1e-3)


def test_every_test_image_has_a_row_of_boxes_inside_the_image(project: Path, tmp_path: Path) -> None:
    metrics = measure(project, "teacher-main", tmp_path / "out")
    found = rows(tmp_path / "out")
    dataset = YoloDataset.load(project / "data")
    assert [row["image"] for row in found] == [f"test/{path.name}" for path in dataset.images("test")]
    assert metrics["images"] == len(found) == 8
    assert metrics["data"] == dataset.digest("test")
    for row in found:
        assert len(row["boxes"]) == len(row["scores"]) == len(row["classes"]) > 0
        assert row["scores"] == sorted(row["scores"], reverse=True)
        assert np.min(row["boxes"]) >= 0 and np.max(row["boxes"]) <= 1


def test_the_rows_are_enough_to_compute_the_map_again(project: Path, tmp_path: Path) -> None:
    metrics = measure(project, "teacher-main", tmp_path / "out")
    table = pa.ipc.open_file(tmp_path / "out/images.arrow").read_all()
    boxes = bootstrap.truth(table)
    once = bootstrap.draw(boxes, np.ones(table.num_rows, int))
    assert bootstrap.mean_average_precision(bootstrap.rank(table, boxes.classes), once) == metrics["map50_95"]


def test_evaluating_twice_gives_equal_files(project: Path, tmp_path: Path) -> None:
    assert measure(project, "teacher-main", tmp_path / "a") == measure(project, "teacher-main", tmp_path / "b")
    assert sha256(tmp_path / "a/images.arrow") == sha256(tmp_path / "b/images.arrow")


def test_a_candidate_is_measured_on_its_own_runtime_and_named_by_its_digest(project: Path, tmp_path: Path) -> None:
    teacher = measure(project, "teacher-main", tmp_path / "teacher")
    candidate = measure(project, "pico-onnx-fp32", tmp_path / "candidate")
    card = read_json(project / "candidates/pico-onnx-fp32/card.json")
    assert candidate["map50_95"] == pytest.approx(teacher["map50_95"], abs=0.01)
    assert (candidate["digest"], candidate["candidate"]) == (card["digest"], "pico-onnx-fp32")
    assert candidate["size_bytes"] == (project / "candidates/pico-onnx-fp32/model.onnx").stat().st_size
    assert teacher["sha256"] == sha256(project / "models/teacher/main/weights.pt")
    assert teacher["parameters"] > 0 and teacher["macs"] > 0


def test_a_sound_export_answers_as_its_checkpoint(project: Path, tmp_path: Path) -> None:
    parity = measure(project, "pico-onnx-fp32", tmp_path / "out")["parity"]
    assert parity["samples"] == 8
    assert parity["agreement"] > 0.99
    assert parity["max_score_difference"] < 1e-3
    assert 0 < parity["max_output_difference"] < 0.05


def test_a_candidate_of_another_checkpoint_is_refused(project: Path, tmp_path: Path) -> None:
    shutil.copytree(project, tmp_path / "project")
    path = tmp_path / "project/candidates/pico-onnx-fp32/card.json"
    write_json(path, {**read_json(path), "checkpoint_sha256": "0" * 64})
    with pytest.raises(IntegrityError, match="was made from the checkpoint 000000000000"):
        measure(tmp_path / "project", "pico-onnx-fp32", tmp_path / "out")


def test_a_runtime_without_a_champion_is_absent(project: Path, tmp_path: Path) -> None:
    assert measure(project, "champion-onnx", tmp_path / "out") == {"subject": "champion-onnx", "present": False}
    assert not list((tmp_path / "out").iterdir())


def test_a_champion_is_measured_like_a_candidate(project: Path, tmp_path: Path) -> None:
    shutil.copytree(project / "candidates/pico-onnx-fp32", project / "inputs/champions/onnx")
    try:
        champion = measure(project, "champion-onnx", tmp_path / "champion")
    finally:
        shutil.rmtree(project / "inputs")
    candidate = measure(project, "pico-onnx-fp32", tmp_path / "candidate")
    del candidate["parity"]  # a champion comes without its checkpoint
    assert champion == {**candidate, "subject": "champion-onnx"}


def test_a_champion_is_refused_when_its_file_was_changed(project: Path, tmp_path: Path) -> None:
    shutil.copytree(project / "candidates/pico-onnx-fp32", project / "inputs/champions/onnx")
    try:
        with (project / "inputs/champions/onnx/model.onnx").open("ab") as file:
            file.write(b"\0")
        with pytest.raises(IntegrityError, match=r"champions/onnx/model\.onnx"):
            measure(project, "champion-onnx", tmp_path / "out")
    finally:
        shutil.rmtree(project / "inputs")


def test_classes_are_matched_by_name_not_by_index(project: Path, tmp_path: Path) -> None:
    """A champion of a dataset with its classes in another order finds the same things."""
    before = measure(project, "pico-onnx-fp32", tmp_path / "before")
    data = tmp_path / "project/data"
    shutil.copytree(project, tmp_path / "project")
    names = YoloDataset.load(data).classes
    content = (data / "data.yaml").read_text().split("names:")[0]
    (data / "data.yaml").write_text(f"{content}names: {[*names[1:], names[0]]}\n")
    for label in (data / "labels/test").glob("*.txt"):
        lines = [line.split(" ", 1) for line in label.read_text().splitlines()]
        label.write_text("".join(f"{(int(index) - 1) % 10} {box}\n" for index, box in lines))
    after = measure(tmp_path / "project", "pico-onnx-fp32", tmp_path / "after")
    assert after["ap"] == before["ap"]


def test_a_network_of_another_task_is_refused(project: Path, tmp_path: Path) -> None:
    shutil.copytree(project, tmp_path / "project")
    path = tmp_path / "project/models/teacher/main/card.json"
    write_json(path, {**read_json(path), "classes": ["cat", "dog"]})
    with pytest.raises(DataError, match="cat"):
        measure(tmp_path / "project", "teacher-main", tmp_path / "out")


def test_a_dataset_without_test_images_is_refused(project: Path, tmp_path: Path) -> None:
    shutil.copytree(project, tmp_path / "project")
    shutil.rmtree(tmp_path / "project/data/images/test")
    with pytest.raises(DataError, match="no test images"):
        measure(tmp_path / "project", "teacher-main", tmp_path / "out")


def test_scores_below_the_minimum_and_boxes_above_the_maximum_are_left_out(project: Path, tmp_path: Path) -> None:
    params = config.load(project)
    few = params.model_copy(update={"evaluate": detect.Evaluate(min_score=0.3, max_boxes=2)})
    evaluate(project, few, "teacher-main", tmp_path)
    found = rows(tmp_path)
    assert max(len(row["scores"]) for row in found) == 2
    assert min(score for row in found for score in row["scores"]) > 0.3


def test_average_precision_is_unknown_where_nothing_is_to_be_found() -> None:
    nothing = np.zeros((0, 4), np.float32)
    box = Detections(np.array([[0, 0, 9, 9]], np.float32), np.ones(1, np.float32), np.zeros(1, int))
    image = average_precision.match(box, nothing, np.zeros(0, int))
    assert average_precision.summarize([image], ["cell"]) == {
        "map50_95": None,
        "map50": None,
        "ap": {"cell": None},
    }


def test_a_true_box_is_found_once_by_the_best_scored_box_of_its_class() -> None:
    truth = np.array([[0, 0, 10, 10]], np.float32)
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 8], [0, 0, 10, 8]], np.float32)
    detections = Detections(boxes, np.array([0.9, 0.8, 0.7], np.float32), np.array([1, 0, 0]))
    image = average_precision.match(detections, truth, np.array([0]))
    # Of another class; 0.8 overlap, which meets the thresholds 0.5 to 0.8; a second finding of the same box.
    assert image.correct[0].sum() == 0
    assert image.correct[1, :6].all() and not image.correct[1, 7:].any()
    assert image.correct[2].sum() == 0
