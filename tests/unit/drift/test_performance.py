from __future__ import annotations

import pytest

from alambique.drift.performance import Performance
from alambique.evaluation.measures import Interval

TEST = Interval(0.60, 0.55, 0.65, 1, 200)


@pytest.mark.parametrize(
    ("low", "high", "drifted"), [(0.30, 0.50, True), (0.45, 0.56, False), (0.55, 0.65, False), (0.70, 0.80, False)]
)
def test_only_an_interval_that_is_apart_and_below_has_drifted(low: float, high: float, drifted: bool) -> None:
    production = Interval((low + high) / 2, low, high, 1, 40)
    assert Performance(production, TEST, 40).drifted is drifted
