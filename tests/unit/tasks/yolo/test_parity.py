from __future__ import annotations

import numpy as np
import pytest

from alambique.tasks.yolo.average_precision import Detections
from alambique.tasks.yolo.parity import parity

BOXES = [[0, 0, 10, 10], [20, 20, 40, 40], [50, 0, 60, 30]]


def found(boxes: list[list[float]], scores: list[float], classes: list[int]) -> Detections:
    return Detections(np.array(boxes, np.float32).reshape(-1, 4), np.array(scores, np.float32), np.array(classes))


def test_a_network_agrees_with_itself() -> None:
    same = found(BOXES, [0.9, 0.8, 0.7], [0, 1, 1])
    expected = {"images": 2, "max_score_difference": 0.0, "max_output_difference": 0.0, "agreement": 1.0}
    assert parity([same, same], [same, same], 0.25) == expected


def test_detections_are_matched_before_they_are_compared() -> None:
    """Two close scores may change places between runtimes."""
    checkpoint = found(BOXES[:2], [0.80, 0.79], [0, 0])
    artifact = found([[20, 20, 40, 42], BOXES[0]], [0.81, 0.78], [0, 0])
    result = parity([artifact], [checkpoint], 0.25)
    assert result["agreement"] == 1.0
    assert result["max_score_difference"] == pytest.approx(0.02, abs=1e-6)
    assert result["max_output_difference"] == 2.0


def test_a_box_of_another_class_or_place_is_no_partner() -> None:
    checkpoint = found(BOXES, [0.9, 0.8, 0.7], [0, 1, 1])
    artifact = found([BOXES[0], BOXES[1], [70, 0, 80, 30]], [0.9, 0.8, 0.7], [0, 0, 1])
    result = parity([artifact], [checkpoint], 0.25)
    assert result["agreement"] == pytest.approx(2 / 6)
    assert parity([checkpoint], [artifact], 0.25) == result


def test_two_boxes_do_not_share_a_partner() -> None:
    checkpoint, artifact = found(BOXES[:1], [0.9], [0]), found([BOXES[0], [0, 0, 10, 9]], [0.9, 0.8], [0, 0])
    assert parity([artifact], [checkpoint], 0.25)["agreement"] == pytest.approx(2 / 3)


def test_only_what_reaches_the_threshold_is_compared() -> None:
    checkpoint, artifact = found(BOXES[:2], [0.9, 0.2], [0, 0]), found(BOXES[:1], [0.4], [0])
    result = parity([artifact], [checkpoint], 0.25)
    assert (result["agreement"], result["max_score_difference"]) == (1.0, pytest.approx(0.5))
    assert parity([artifact], [checkpoint], 0.5)["agreement"] == 0


def test_one_that_finds_nothing_agrees_on_nothing_and_has_no_differences() -> None:
    result = parity([found([], [], [])], [found(BOXES, [0.9, 0.8, 0.7], [0, 1, 1])], 0.25)
    assert result == {"images": 1, "max_score_difference": None, "max_output_difference": None, "agreement": 0.0}


def test_where_neither_finds_anything_nothing_can_be_said() -> None:
    nothing = found([], [], [])
    assert parity([nothing], [nothing], 0.25)["agreement"] is None
