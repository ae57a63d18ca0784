from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from alambique.errors import IntegrityError
from alambique.tasks.yolo import samples
from alambique.tasks.yolo.dataset import YoloDataset
from alambique.tasks.yolo.soft_label_rows import BoxLabels

NAN, NONE = np.nan, -np.inf


@pytest.fixture
def data(tmp_path: Path) -> YoloDataset:
    """One labelled image with a box of class 1, one background image, one unlabelled image; three classes."""
    for image in ("train/a", "train/b", "unlabelled/c"):
        path = tmp_path / "images" / f"{image}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(path)
    (tmp_path / "labels/train").mkdir(parents=True)
    (tmp_path / "labels/train/a.txt").write_text("1 0.5 0.5 0.4 0.4\n")
    (tmp_path / "data.yaml").write_text(
        "train: images/train\nval: images/train\nunlabelled: images/unlabelled\nnames: [cat, dog, eel]\n"
    )
    return YoloDataset.load(tmp_path)


def seen(image: str, *boxes: tuple[list[float], list[int], list[float], float]) -> BoxLabels:
    """Soft labels from (corners, classes, logits, score)."""

    def column(index: int, width: int, kind: type) -> NDArray[np.float16]:
        return np.array([box[index] for box in boxes], kind).reshape(-1, width)

    return BoxLabels(
        image=image,
        boxes=column(0, 4, np.float16),
        logits=column(2, 2, np.float16),
        classes=column(1, 2, np.int16),
        scores=column(3, 1, np.float16)[:, 0],
    )


def teacher(a: BoxLabels, c: BoxLabels | None = None) -> dict[str, BoxLabels]:
    c = c or seen("unlabelled/c.png")
    return {"train/a.png": a, "train/b.png": seen("train/b.png"), "unlabelled/c.png": c}


def as_probabilities(scores: NDArray[np.floating], classes: NDArray[np.integer]) -> NDArray[np.float32]:
    """As if a score were calibrated."""
    return scores.astype(np.float32)


CLOSE = [0.3, 0.3, 0.7, 0.7]
CLOSER_THAN_HALF = [0.35, 0.3, 0.75, 0.7]
FAR = [0.5, 0.5, 0.9, 0.9]


def test_a_labelled_box_keeps_its_label_and_gets_the_closest_teacher_of_its_class(data: YoloDataset) -> None:
    another_class = (CLOSE, [2, 0], [3.0, 1.0], 0.9)
    same_class = (CLOSER_THAN_HALF, [1, 0], [0.5, -1.0], 0.6)
    (a, b, _) = samples.with_teacher_targets(
        data, teacher(seen("train/a.png", another_class, same_class)), as_probabilities, 0.4
    )
    np.testing.assert_allclose(a.targets, [[1, 1, -1.0, 0.5, NONE]])
    np.testing.assert_allclose(a.boxes, [[0.5, 0.5, 0.4, 0.4]])
    assert b.targets.shape == (0, 5)


def test_without_a_box_of_its_class_the_closest_one_teaches(data: YoloDataset) -> None:
    boxes = [(CLOSER_THAN_HALF, [0, 2], [2.0, 1.0], 0.9), (CLOSE, [2, 0], [3.0, 1.0], 0.3)]
    sample = samples.with_teacher_targets(data, teacher(seen("train/a.png", *boxes)), as_probabilities, 0.4)[0]
    np.testing.assert_allclose(sample.targets, [[1, 1, 1.0, NONE, 3.0]])


def test_a_box_that_the_teacher_missed_has_no_teacher(data: YoloDataset) -> None:
    sample = samples.with_teacher_targets(
        data, teacher(seen("train/a.png", (FAR, [1, 0], [3.0, 1.0], 0.9))), as_probabilities, 0.4
    )[0]
    np.testing.assert_allclose(sample.targets, [[1, 1, NAN, NAN, NAN]])


def test_the_teacher_adds_no_boxes_to_a_labelled_image(data: YoloDataset) -> None:
    boxes = [(CLOSE, [1, 0], [3.0, 1.0], 0.9), ([0.0, 0.0, 0.1, 0.1], [0, 1], [5.0, 1.0], 0.99)]
    assert (
        len(samples.with_teacher_targets(data, teacher(seen("train/a.png", *boxes)), as_probabilities, 0.4)[0].boxes)
        == 1
    )


def test_an_unlabelled_image_is_labelled_by_what_the_teacher_is_sure_of(data: YoloDataset) -> None:
    c = seen("unlabelled/c.png", ([0.25, 0.5, 0.75, 1.0], [2, 0], [1.0, -2.0], 0.75), (FAR, [0, 1], [-1.0, -2.0], 0.25))
    sample = samples.with_teacher_targets(data, teacher(seen("train/a.png"), c), as_probabilities, 0.4)[2]
    np.testing.assert_allclose(sample.boxes, [[0.5, 0.75, 0.5, 0.5]])
    np.testing.assert_allclose(sample.targets, [[2, 0.75, -2.0, NONE, 1.0]])


def test_the_probability_of_a_box_depends_on_its_class(data: YoloDataset) -> None:
    c = seen("unlabelled/c.png", (CLOSE, [2, 0], [1.0, -2.0], 0.75), (FAR, [0, 1], [1.0, -2.0], 0.75))

    def trust(scores: NDArray[np.floating], classes: NDArray[np.integer]) -> NDArray[np.float32]:
        return np.where(classes == 2, 0.5, 0.1).astype(np.float32)

    sample = samples.with_teacher_targets(data, teacher(seen("train/a.png"), c), trust, 0.4)[2]
    np.testing.assert_allclose(sample.targets[:, :2], [[2, 0.5]])


def test_an_unlabelled_image_in_which_the_teacher_is_sure_of_nothing_is_background(data: YoloDataset) -> None:
    c = seen("unlabelled/c.png", (FAR, [0, 1], [-1.0, -2.0], 0.25))
    sample = samples.with_teacher_targets(data, teacher(seen("train/a.png"), c), as_probabilities, 0.4)[2]
    assert sample.boxes.shape == (0, 4)
    assert sample.targets.shape == (0, 5)


def test_an_image_without_soft_labels_is_refused(data: YoloDataset) -> None:
    incomplete = teacher(seen("train/a.png"))
    del incomplete["unlabelled/c.png"]
    with pytest.raises(IntegrityError, match=r"no soft labels for .*c\.png"):
        samples.with_teacher_targets(data, incomplete, as_probabilities, 0.4)
