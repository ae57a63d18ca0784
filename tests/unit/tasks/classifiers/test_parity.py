from __future__ import annotations

import numpy as np
import pytest

from alambique.tasks.classifiers.parity import parity


def test_parity_is_the_largest_difference_and_the_share_of_equal_classes() -> None:
    one = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]])
    two = np.array([[0.8, 0.2], [0.45, 0.55], [0.2, 0.8]])
    figures = parity(one, two)
    assert figures["samples"] == 3
    assert figures["agreement"] == pytest.approx(2 / 3)
    assert figures["max_score_difference"] == pytest.approx(0.15)
    assert parity(np.array([[np.nan, 1.0]]), np.array([[0.0, 1.0]]))["max_score_difference"] is None
