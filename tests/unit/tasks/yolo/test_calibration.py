from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from alambique.errors import ConfigurationError, DataError
from alambique.tasks.yolo.dataset import YoloDataset
from alambique.tasks.yolo.quantization import calibration_images, describe, float_nodes


def shown(dataset: YoloDataset, images: list[Path]) -> set[int]:
    return {int(row[0]) for image in images for row in dataset.boxes(image)}


@pytest.fixture
def copy(scenes: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(scenes, tmp_path / "data"))


@pytest.mark.parametrize("seed", range(5))
def test_few_images_show_every_class_of_train(scenes: Path, seed: int) -> None:
    dataset = YoloDataset.load(scenes)
    drawn = calibration_images(dataset, 10, seed)
    assert len(set(drawn)) == 10
    assert set(drawn) <= set(dataset.images("train"))
    assert shown(dataset, drawn) == shown(dataset, dataset.images("train"))


def test_equal_seeds_draw_equal_images_and_others_do_not(scenes: Path) -> None:
    dataset = YoloDataset.load(scenes)
    assert calibration_images(dataset, 12, 3) == calibration_images(dataset, 12, 3)
    assert set(calibration_images(dataset, 12, 3)) != set(calibration_images(dataset, 12, 4))


def test_all_images_are_drawn_when_there_are_not_enough(scenes: Path) -> None:
    dataset = YoloDataset.load(scenes)
    assert sorted(calibration_images(dataset, 1000, 0)) == dataset.images("train")


def test_too_few_images_for_the_classes_are_refused_with_those_missing(scenes: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"quantize\.images: 1 images cannot show every class; .*would be mis"):
        calibration_images(YoloDataset.load(scenes), 1, 0)


def test_an_empty_train_split_is_refused(copy: Path) -> None:
    shutil.rmtree(copy / "images/train")
    with pytest.raises(DataError, match=r"0 training images .* show 0 of 10 classes"):
        calibration_images(YoloDataset.load(copy), 8, 0)


@pytest.mark.parametrize(("row", "count"), [("3 0.5 0.5 0.2 0.2\n", 1), ("", 0)])
def test_a_train_split_that_shows_one_class_of_several_is_refused(copy: Path, row: str, count: int) -> None:
    for label in (copy / "labels/train").iterdir():
        label.write_text(row)
    with pytest.raises(DataError, match=rf"24 training images .* show {count} of 10 classes"):
        calibration_images(YoloDataset.load(copy), 8, 0)


def test_the_only_class_of_a_dataset_is_enough(copy: Path) -> None:
    for label in (copy / "labels/train").iterdir():
        label.write_text("0 0.5 0.5 0.2 0.2\n")
    (copy / "data.yaml").write_text("train: images/train\nval: images/val\ntest: images/test\nnames: [digit]\n")
    assert len(calibration_images(YoloDataset.load(copy), 8, 0)) == 8


def test_calibration_sets_differ_by_their_images_and_boxes(copy: Path) -> None:
    dataset = YoloDataset.load(copy)
    drawn = calibration_images(dataset, 12, 0)
    before = describe(dataset, drawn)
    assert before["calibration_images"] == 12
    assert before["calibration_boxes"]["three"] == sum(
        int(row[0]) == 3 for image in drawn for row in dataset.boxes(image)
    )
    assert describe(dataset, drawn) == before
    assert describe(dataset, drawn[1:])["calibration_digest"] != before["calibration_digest"]
    drawn[0].write_bytes(drawn[1].read_bytes())
    assert describe(dataset, drawn)["calibration_digest"] != before["calibration_digest"]


def test_float_nodes_reaches_back_to_the_last_convolutions_and_no_further() -> None:
    producers = {
        "stem": ("Conv", []),
        "act": ("Sigmoid", ["stem"]),
        "boxes": ("Conv", ["act"]),
        "scores": ("Convolution", ["act"]),
        "sigmoid": ("Sigmoid", ["scores"]),
        "join": ("Concat", ["boxes", "sigmoid", "anchors"]),
    }
    assert float_nodes(producers, "join") == ["boxes", "join", "scores", "sigmoid"]
