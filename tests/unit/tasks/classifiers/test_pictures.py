from __future__ import annotations

import numpy as np
import pytest

from alambique.tasks.classifiers.pictures import agreement, likeliest
from alambique.tasks.classifiers.results import top_classes

CLASSES = ["wolf", "<dog>", "cat"]


def test_agreement_is_the_overlap_of_probabilities() -> None:
    labels = np.array([0])
    first, second = (top_classes(["a"], labels, np.array([row])) for row in ([0.7, 0.2, 0.1], [0.5, 0.1, 0.4]))
    assert agreement(first, second, 0) == pytest.approx(0.7)
    assert agreement(first, first, 0) == pytest.approx(1)


def test_the_likeliest_classes_come_first_and_are_escaped() -> None:
    table = likeliest(top_classes(["a"], np.array([0]), np.array([[0.2, 0.7, 0.1]])), 0, CLASSES)
    assert table.index("&lt;dog&gt;") < table.index("wolf") < table.index("cat")
    assert "70.0 %" in table
