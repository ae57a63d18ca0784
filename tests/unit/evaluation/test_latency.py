from __future__ import annotations

import numpy as np
import pytest

from alambique.evaluation.build import latency_difference


def test_the_interval_of_a_difference_of_medians_is_that_of_theory() -> None:
    """The median of n normal times has the standard error σ √(π / 2n); two of nothing in common add variances."""
    chance = np.random.default_rng(1)
    first, second = chance.normal(10, 1, 2001), chance.normal(9, 1, 2001)
    difference = latency_difference(first.tolist(), second.tolist())
    half = 1.96 * np.sqrt(2 * np.pi / 2 / 2001)
    assert difference["value"] == pytest.approx(1, abs=0.1)
    assert (difference["high"] - difference["low"]) / 2 == pytest.approx(half, rel=0.25)
    assert difference["n"] == 2001


def test_what_slows_a_round_down_is_no_difference() -> None:
    noise = np.random.default_rng(2).exponential(20, 100)
    difference = latency_difference((noise + 5).tolist(), (noise + 3).tolist())
    assert difference == pytest.approx({"value": 2, "low": 2, "high": 2, "n": 100})


def test_equal_times_give_equal_intervals_and_a_swap_turns_them_round() -> None:
    chance = np.random.default_rng(3)
    first, second = chance.gamma(3, 2, 50).tolist(), chance.gamma(3, 2, 50).tolist()
    difference, opposite = latency_difference(first, second), latency_difference(second, first)
    assert difference == latency_difference(first, second)
    assert (opposite["low"], opposite["high"]) == (
        pytest.approx(-difference["high"]),
        pytest.approx(-difference["low"]),
    )
