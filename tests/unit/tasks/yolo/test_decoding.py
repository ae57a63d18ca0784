from __future__ import annotations

import numpy as np
import pytest

from alambique.errors import DataError
from alambique.tasks.yolo.decoding import OUTLINE, decode, known_rows, rows, with_best_boxes
from alambique.tasks.yolo.preprocess import Letterbox, to_shares

NAN, INF = float("nan"), float("inf")


def output(*objects: list[float]) -> list[np.ndarray]:
    return [np.array([objects], np.float32)]


def test_rows_that_are_no_object_are_left_out() -> None:
    good, better = [1, 2, 3, 4, 0.5, 1, 0], [1, 2, 3, 4, 0.9, 0, 0]
    bad = [[NAN, 2, 3, 4, 0.5, 1, 0], [1, 2, 3, 4, 0.5, 7, 0], [1, 2, 3, 4, 0.01, 1, 0], [1, 2, 3, 4, INF, 1, 0]]
    known = known_rows(output(good, *bad, better)[0][0], np.arange(2), min_score=0.1, max_boxes=9)
    assert known.tolist() == np.array([better, good], np.float32).tolist()
    assert len(known_rows(output(good, better)[0][0], np.arange(2), min_score=0.1, max_boxes=1)) == 1


def test_ncnn_chooses_among_all_places_whatever_their_scores_look_like() -> None:
    places = output([1, 2, 3, 4, 0.25, 0], [5, 6, 7, 8, 0.75, 1], [9, 9, 9, 9, 0, 0])  # whole, as class indices are
    (best,) = with_best_boxes(lambda image: places, "ncnn")(None)
    assert rows("detect", [best]).tolist() == [[5, 6, 7, 8, 1, 1], [5, 6, 7, 8, 0.75, 0], [1, 2, 3, 4, 0.25, 0]]


@pytest.mark.parametrize("runtime", ["onnx", None])
def test_elsewhere_the_network_has_chosen_whatever_its_classes_look_like(runtime: str | None) -> None:
    broken = output([1, 2, 3, 4, 0.5, NAN], [5, 6, 7, 8, 0.25, 1])
    (objects,) = with_best_boxes(lambda image: broken, runtime)(None)
    assert np.array_equal(rows("detect", [objects]), broken[0][0], equal_nan=True)


def test_all_places_of_another_runtime_are_refused() -> None:
    with pytest.raises(DataError, match=r"puts out \(1, 1, 7\), not final boxes"):
        rows("detect", output([1, 2, 3, 4, 0.5, 0.25, 0.125]))


def test_a_turned_box_has_its_corners_and_a_box_around_them() -> None:
    outputs = output([32, 32, 20, 10, 0.9, 1, np.pi / 2])
    objects = decode("obb", outputs, outputs[0][0], (0, 0), 64)
    assert objects.boxes[0] == pytest.approx([27, 22, 37, 42], abs=1e-4)
    assert sorted(objects.points[0].round().tolist()) == [[27, 22], [27, 42], [37, 22], [37, 42]]
    assert objects.classes.tolist() == [1]


def test_keypoints_are_taken_as_they_are() -> None:
    outputs = output([1, 2, 3, 4, 0.9, 0, 10, 11, 0.7, 20, 21, 0.2])
    objects = decode("pose", outputs, outputs[0][0], (2, 3), 64)
    assert objects.points[0].tolist() == np.array([[10, 11, 0.7], [20, 21, 0.2]], np.float32).tolist()


def test_a_mask_becomes_its_outline() -> None:
    side = np.arange(16) + 0.5
    disc = 5.0 - np.hypot(side[None] - 8, side[:, None] - 8)
    masked = [[0, 0, 64, 64, 0.9, 1, 1.0, 0.0], [8, 8, 24, 40, 0.8, 1, 0.0, 1.0]]
    outputs = [*output(*masked), np.array([[disc, np.full((16, 16), -1.0)]], np.float32)]
    objects = decode("segment", outputs, outputs[0][0], (0, 0), 64)
    assert objects.points.shape == (2, OUTLINE, 2)
    assert np.hypot(*(objects.points[0] - 32).T) == pytest.approx(np.full(OUTLINE, 20), abs=3)  # pixels of 4
    x1, y1 = objects.points[1].min(0)
    x2, y2 = objects.points[1].max(0)
    assert (x1, y1, x2, y2) == pytest.approx((8, 8, 24, 40), abs=0.1)  # nothing is above 0: its box


def test_an_outline_holds_all_of_its_mask() -> None:
    square = np.full((1, 1, 16, 16), -1.0, np.float32)
    square[..., 4:8, 2:10] = 1.0
    outputs = [*output([0, 0, 64, 64, 0.9, 1, 1.0]), square]
    objects = decode("segment", outputs, outputs[0][0], (0, 0), 64)
    assert objects.points[0].min(0) == pytest.approx([8, 16], abs=0.6)
    assert objects.points[0].max(0) == pytest.approx([40, 32], abs=0.6)


@pytest.mark.parametrize("head", ["segment", "pose", "obb"])
def test_an_image_may_hold_nothing(head: str) -> None:
    width = {"segment": 38, "pose": 12, "obb": 7}[head]
    outputs = [np.zeros((1, 3, width), np.float32), np.zeros((1, 32, 16, 16), np.float32)]
    known = known_rows(outputs[0][0], np.arange(2), min_score=0.1, max_boxes=9)
    objects = decode(head, outputs, known, (2, 3), 64)  # type: ignore[arg-type]
    assert objects.boxes.shape == (0, 4)
    assert len(objects.points) == 0


def test_points_go_back_to_their_image() -> None:
    letterbox = Letterbox(width=200, height=100, scale=0.32, left=0, top=16)
    shares = to_shares(np.array([[[32, 32, 0.5], [64, 90, 1.0]]], np.float32), letterbox)
    assert shares[0] == pytest.approx(np.array([[0.5, 0.5, 0.5], [1.0, 1.0, 1.0]]), abs=1e-6)
