from __future__ import annotations

from pathlib import Path

import numpy as np
import yaml

from alambique.data.dataset import Dataset
from alambique.demo.digits import Scenes
from alambique.demo.run import SCENES
from alambique.files import folder_sha256

SMALL = Scenes(train=6, val=2, test=3, unlabelled=4, size=64, seed=3)


def test_equal_seeds_give_equal_files(tmp_path: Path) -> None:
    for name in ("a", "b"):
        SMALL.write(tmp_path / name)
    assert folder_sha256(tmp_path / "a") == folder_sha256(tmp_path / "b")


def test_scenes_are_a_dataset_of_ten_digits_with_boxes_around_ink(tmp_path: Path) -> None:
    SMALL.write(tmp_path / "data")
    data = Dataset.load(tmp_path / "data")
    assert len(data.classes) == 10
    assert [len(data.images(split)) for split in ("train", "val", "test", "unlabelled")] == [6, 2, 3, 4]
    assert not (tmp_path / "data/labels/unlabelled").exists()
    boxes = np.concatenate([data.boxes(image) for image in data.images("train")])
    assert len(boxes) >= 6
    low, high = boxes[:, 1:3] - boxes[:, 3:] / 2, boxes[:, 1:3] + boxes[:, 3:] / 2
    assert (low >= -1e-6).all()
    assert (high <= 1 + 1e-6).all()


def test_a_split_without_scenes_is_not_mentioned(tmp_path: Path) -> None:
    Scenes(train=1, val=1, test=1, size=64).write(tmp_path / "data")
    assert "unlabelled" not in yaml.safe_load((tmp_path / "data/data.yaml").read_text())


def test_the_demo_has_fewer_labels_than_scenes() -> None:
    assert SCENES.unlabelled > SCENES.train
