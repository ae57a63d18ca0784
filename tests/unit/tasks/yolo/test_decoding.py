from __future__ import annotations

import numpy as np
import pytest

from alambique.tasks.yolo.decoding import OUTLINE, decode, known_rows, to_shares
from alambique.tasks.yolo.preprocess import Letterbox

NAN, INF = float("nan"), float("inf")


def output(*rows: list[float]) -> list[np.ndarray]:
    return [np.array([rows], np.float32)]


def test_rows_that_are_no_object_are_left_out() -> None:
    good, better = [1, 2, 3, 4, 0.5, 1, 0], [1, 2, 3, 4, 0.9, 0, 0]
    bad = [[NAN, 2, 3, 4, 0.5, 1, 0], [1, 2, 3, 4, 0.5, 7, 0], [1, 2, 3, 4, 0.01, 1, 0], [1, 2, 3, 4, INF, 1, 0]]
    rows = known_rows(output(good, *bad, better)[0][0], np.arange(2), min_score=0.1, max_boxes=9)
    assert rows.tolist() == np.array([better, good], np.float32).tolist()
    assert len(known_rows(output(good, better)[0][0], np.arange(2), min_score=0.1, max_boxes=1)) == 1


def test_a_turned_box_has_its_corners_and_a_box_around_them() -> None:
    outputs = output([32, 32, 20, 10, 0.9, 1, np.pi / 2])
    found = decode("obb", outputs, outputs[0][0], (0, 0), 64)
    assert found.boxes[0] == pytest.approx([27, 22, 37, 42], abs=1e-4)
    assert sorted(found.points[0].round().tolist()) == [[27, 22], [27, 42], [37, 22], [37, 42]]
    assert found.classes.tolist() == [1]


def test_keypoints_are_taken_as_they_are() -> None:
    outputs = output([1, 2, 3, 4, 0.9, 0, 10, 11, 0.7, 20, 21, 0.2])
    found = decode("pose", outputs, outputs[0][0], (2, 3), 64)
    assert found.points[0].tolist() == np.array([[10, 11, 0.7], [20, 21, 0.2]], np.float32).tolist()


def test_a_mask_becomes_its_outline() -> None:
    side = np.arange(16) + 0.5
    disc = 5.0 - np.hypot(side[None] - 8, side[:, None] - 8)
    rows = [[0, 0, 64, 64, 0.9, 1, 1.0, 0.0], [8, 8, 24, 40, 0.8, 1, 0.0, 1.0]]
    outputs = [*output(*rows), np.array([[disc, np.full((16, 16), -1.0)]], np.float32)]
    found = decode("segment", outputs, outputs[0][0], (0, 0), 64)
    assert found.points.shape == (2, OUTLINE, 2)
    assert np.hypot(*(found.points[0] - 32).T) == pytest.approx(np.full(OUTLINE, 20), abs=3)  # pixels of 4
    x1, y1 = found.points[1].min(0)
    x2, y2 = found.points[1].max(0)
    assert (x1, y1, x2, y2) == pytest.approx((8, 8, 24, 40), abs=0.1)  # nothing is above 0: its box


def test_an_outline_holds_all_of_its_mask() -> None:
    square = np.full((1, 1, 16, 16), -1.0, np.float32)
    square[..., 4:8, 2:10] = 1.0
    outputs = [*output([0, 0, 64, 64, 0.9, 1, 1.0]), square]
    found = decode("segment", outputs, outputs[0][0], (0, 0), 64)
    assert found.points[0].min(0) == pytest.approx([8, 16], abs=0.6)
    assert found.points[0].max(0) == pytest.approx([40, 32], abs=0.6)


@pytest.mark.parametrize("head", ["segment", "pose", "obb"])
def test_an_image_may_hold_nothing(head: str) -> None:
    width = {"segment": 38, "pose": 12, "obb": 7}[head]
    outputs = [np.zeros((1, 3, width), np.float32), np.zeros((1, 32, 16, 16), np.float32)]
    rows = known_rows(outputs[0][0], np.arange(2), min_score=0.1, max_boxes=9)
    found = decode(head, outputs, rows, (2, 3), 64)  # type: ignore[arg-type]
    assert found.boxes.shape == (0, 4)
    assert len(found.points) == 0


def test_points_go_back_to_their_image() -> None:
    letterbox = Letterbox(width=200, height=100, scale=0.32, left=0, top=16)
    shares = to_shares(np.array([[[32, 32, 0.5], [64, 90, 1.0]]], np.float32), letterbox)
    assert shares[0] == pytest.approx(np.array([[0.5, 0.5, 0.5], [1.0, 1.0, 1.0]]), abs=1e-6)
