from __future__ import annotations

import numpy as np
import pytest

from alambique.tasks.yolo.average_precision import THRESHOLDS, Matched
from alambique.tasks.yolo.operating_point import at_threshold

NAMES = ["red", "white", "platelet"]


def image(scores: list[float], classes: list[int], right: list[bool], truth: list[int]) -> Matched:
    correct = np.repeat(np.array(right, bool).reshape(-1, 1), len(THRESHOLDS), axis=1)
    return Matched(correct, np.array(scores, np.float32), np.array(classes, np.int64), np.array(truth, np.int64))


SPLIT = [
    image([0.9, 0.8, 0.3, 0.1], [0, 0, 1, 0], [True, False, True, True], [0, 0, 1]),
    image([0.25, 0.2], [0, 1], [True, True], [0, 1]),
    image([], [], [], []),
]


def test_figures_are_those_of_counting_by_hand() -> None:
    found = at_threshold(SPLIT, NAMES, 0.25)
    # Red: 3 found, 2 of them right, 3 there. White: 1 found and right, 2 there.
    assert found["recall"] == {"red": pytest.approx(2 / 3), "white": 0.5, "platelet": None}
    assert found["precision"] == {"red": pytest.approx(2 / 3), "white": 1.0, "platelet": None}
    assert found["f1"] == pytest.approx(2 * 3 / (4 + 5))


def test_a_higher_threshold_finds_less() -> None:
    assert at_threshold(SPLIT, NAMES, 0.5)["recall"] == {"red": pytest.approx(1 / 3), "white": 0.0, "platelet": None}


def test_right_means_an_overlap_of_one_half() -> None:
    loose = image([0.9], [0], [False], [0])
    loose.correct[0, 0] = True
    assert at_threshold([loose], NAMES, 0.25)["f1"] == 1.0


def test_nothing_found_is_a_recall_of_zero_and_no_precision() -> None:
    found = at_threshold([image([], [], [], [0])], NAMES, 0.25)
    assert (found["f1"], found["recall"]["red"], found["precision"]["red"]) == (0.0, 0.0, None)


def test_where_there_is_nothing_there_is_no_f1() -> None:
    assert at_threshold([image([], [], [], [])], NAMES, 0.25)["f1"] is None
