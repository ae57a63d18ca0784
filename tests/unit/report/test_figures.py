from __future__ import annotations

import pytest

from alambique.evaluation.leaderboard import Gain
from alambique.report.figures import outcome, scope, verdict


def gain(value: float, low: float, high: float) -> Gain:
    return {"value": value, "low": low, "high": high, "seeds": 1, "images": 64}


@pytest.mark.parametrize(
    ("worth", "text"),
    [
        (gain(0.03, 0.012, 0.049), "Distillation made pico better by 3.0 points of mAP50-95 [+1.2, +4.9]."),
        (gain(-0.05, -0.07, -0.031), "Distillation made pico worse by 5.0 points of mAP50-95 [−7.0, −3.1]."),
        (
            gain(0.004, -0.008, 0.016),
            "The gain of pico by distillation is not significant: +0.4 points of mAP50-95 [−0.8, +1.6].",
        ),
    ],
)
def test_a_gain_is_called_one_only_where_the_interval_leaves_out_zero(worth: Gain, text: str) -> None:
    assert verdict("pico", worth, "mAP50-95") == text


def test_an_unknown_gain_is_called_unknown() -> None:
    words = verdict("pico", None, "top-1")
    assert "is unknown" in words and "has no top-1 on today's test split" in words
    assert outcome(None) == "even"


def test_a_gain_of_exactly_nothing_is_not_one() -> None:
    assert outcome(gain(0.0, 0.0, 0.0)) == outcome(gain(0.01, 0.0, 0.02)) == "even"


def test_what_is_shown_as_nothing_is_not_called_a_gain() -> None:
    assert outcome(gain(0.0004, 0.0001, 0.0007)) == "even"
    assert outcome(gain(-0.0006, -0.0009, -0.0001)) == "loss"


def test_one_seed_says_nothing_about_the_chance_of_training() -> None:
    assert "64 test images only, not the randomness of training" in scope(1, 64, "images")
    several = scope(3, 64, "texts")
    assert "all 3 seeds" in several and "64 test texts" in several and "only" not in several
