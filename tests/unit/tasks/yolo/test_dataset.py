from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from alambique.data.expectations import failures, judge
from alambique.data.import_dataset import import_dataset
from alambique.errors import DataError
from alambique.tasks.yolo import HeadTask
from alambique.tasks.yolo.dataset import YoloDataset


@pytest.fixture
def copy(data: YoloDataset, tmp_path: Path) -> Path:
    return Path(shutil.copytree(data.root, tmp_path / "data"))


@pytest.fixture
def poses_copy(poses: YoloDataset, tmp_path: Path) -> Path:
    return Path(shutil.copytree(poses.root, tmp_path / "data"))


def first_label(root: Path) -> Path:
    return sorted(label for label in root.glob("labels/train/*.txt") if label.read_text().strip())[0]


def test_a_label_holds_a_box_around_its_points(data: YoloDataset) -> None:
    for sample in data.samples("train"):
        assert len(sample.boxes) == len(sample.targets) == len(sample.points)
        for (x, y, width, height), points in zip(sample.boxes, sample.points, strict=True):
            low, high = points[:, :2].min(0), points[:, :2].max(0)
            assert (low >= np.array([x - width / 2, y - height / 2]) - 1e-5).all()
            assert (high <= np.array([x + width / 2, y + height / 2]) + 1e-5).all()
            if data.head != "pose":
                assert high - low == pytest.approx([width, height], abs=1e-5)


def test_the_boxes_are_those_that_detectors_have(data: YoloDataset) -> None:
    for image in data.images("train"):
        sample = data.sample(image)
        assert data.boxes(image).shape == (len(sample.boxes), 5)
        assert (data.boxes(image)[:, 0] == sample.targets[:, 0]).all()


@pytest.mark.parametrize("row", ["3 0.5 0.5 0.1 0.1", "3", "x 0.1 0.2 0.3", "0.5" + " 0.1" * 30])
def test_a_row_of_another_kind_is_named(data: YoloDataset, copy: Path, row: str) -> None:
    label = first_label(copy)
    label.write_text(label.read_text() + row + "\n")
    broken = YoloDataset.load(copy, data.head)
    number = len(label.read_text().splitlines())
    with pytest.raises(DataError, match=rf"{label.name}:{number}: expected class"):
        broken.samples("train")


def test_what_is_broken_breaks_the_contract(data: YoloDataset, params: object, copy: Path) -> None:
    label = first_label(copy)
    label.write_text("3 0.5\n")
    from alambique import tasks

    task = tasks.load(data.head)
    assert isinstance(task, HeadTask)
    facts = task.facts(copy, params)  # type: ignore[arg-type]
    told = "\n".join(failures(judge(facts.tables, facts.contract)))
    assert "every label row can be read" in told
    assert label.name in told


def test_adopting_keeps_what_the_keypoints_are(data: YoloDataset, tmp_path: Path) -> None:
    import_dataset(str(data.root), tmp_path / "adopted")
    assert YoloDataset.load(tmp_path / "adopted", data.head).keypoints == data.keypoints


def test_keypoints_are_part_of_the_digest(poses: YoloDataset, poses_copy: Path) -> None:
    content = yaml.safe_load((poses_copy / "data.yaml").read_text())
    assert YoloDataset.load(poses_copy, "pose").digest("test") == poses.digest("test")
    (poses_copy / "data.yaml").write_text(yaml.safe_dump({**content, "flip_idx": [0, 1, 2]}))
    assert YoloDataset.load(poses_copy, "pose").digest("test") != poses.digest("test")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"kpt_shape": None}, "kpt_shape: expected how many keypoints"),
        ({"kpt_shape": [3, 4]}, "kpt_shape: expected how many keypoints"),
        ({"flip_idx": [0, 1]}, "flip_idx: expected each of the 3 keypoints once"),
    ],
)
def test_keypoints_that_make_no_sense_are_refused(poses_copy: Path, change: dict[str, object], told: str) -> None:
    content = yaml.safe_load((poses_copy / "data.yaml").read_text())
    (poses_copy / "data.yaml").write_text(yaml.safe_dump({**content, **change}))
    with pytest.raises(DataError, match=told):
        YoloDataset.load(poses_copy, "pose")


def test_a_keypoint_outside_its_image_is_named(poses_copy: Path) -> None:
    label = first_label(poses_copy)
    label.write_text("3 0.5 0.5 0.2 0.2 0.5 1.5 2 0.5 0.5 2 0 0 0\n")
    with pytest.raises(DataError, match=f"{label.name}:1: a keypoint lies outside"):
        YoloDataset.load(poses_copy, "pose").samples("train")
    label.write_text("3 0.5 0.5 0.2 0.2 0.5 1.5 0 0.5 0.5 2 0 0 0\n")  # not labelled: wherever it lies
    assert YoloDataset.load(poses_copy, "pose").samples("train")
