from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from benchmarks.panel.rows import Curve, Results, differences, gains, gap_closed, steps_ratio, steps_to_control

from alambique.evaluation.measures import Resampled
from alambique.evaluation.paired_bootstrap import RESAMPLES

IMAGES = 50


def made_up(values: Mapping[tuple[int, str], Sequence[float | None]], stream: int = 0, noise: float = 0.0) -> Results:
    """A set whose arms have these figures by seed (None: not trained), on resamples too but for some noise.

    Args:
        noise: standard deviation of what each resample adds, the same to every second arm.
    """
    by_folder, evaluations = {}, {}
    chance = np.random.default_rng(0).normal(0, noise, RESAMPLES)
    for (share, arm), by_seed in values.items():
        folders = {seed: Path(f"{share}-{arm}-{seed}") for seed, value in enumerate(by_seed) if value is not None}
        evaluations[share, arm] = folders
        for seed, folder in folders.items():
            added = chance if arm == "distilled" else 0 * chance
            by_folder[folder] = np.concatenate(([0.0], added)) + by_seed[seed]

    def resample(folders: Sequence[Path]) -> Resampled:
        return Resampled(np.array([by_folder[folder] for folder in folders]), IMAGES)

    return Results(evaluations, resample, stream)


def curve(*values: float) -> Curve:
    return [{"step": 100.0 * number, "map50_95": value} for number, value in enumerate(values, start=1)]


def test_a_gain_is_the_mean_over_sets_of_the_mean_over_seeds() -> None:
    results = {
        "cards": made_up({(10, "distilled"): [0.62, 0.58], (10, "control"): [0.5, 0.5]}),
        "bccd": made_up({(10, "distilled"): [0.43, 0.45], (10, "control"): [0.42, 0.42]}, 1),
    }
    (row,) = gains(results)
    assert (row.id, row.goal, row.n) == ("panel_gain_10", "≥ 5, low > 0", 4 * IMAGES)
    assert row.value == pytest.approx((10 + 2) / 2)
    assert row.low < row.value < row.high
    assert row.details["sets"]["cards"]["value"] == pytest.approx(10)
    assert row.details["sets"]["bccd"]["seeds"] == 2


def test_rows_are_of_what_is_there() -> None:
    arms = {
        (10, "control"): [0.5, 0.5, 0.5],
        (10, "distilled"): [0.6, 0.7, None],
        (10, "start"): [0.55],
        (100, "distilled"): [0.8],
        (100, "builtin"): [None],
        (100, "teacher"): [0.83, 0.83, 0.83],
    }
    rows = {row.id: row for row in gains({"cards": made_up(arms), "digits": made_up({(20, "control"): [0.5]})})}
    assert {id: row.n for id, row in rows.items()} == {
        "panel_gain_10": 2 * IMAGES,
        "panel_soft_over_start": IMAGES,
        "teacher_gap": IMAGES,
    }
    assert rows["teacher_gap"].value == pytest.approx(3)
    assert rows["teacher_gap"].met
    assert list(rows["panel_gain_10"].details["sets"]) == ["cards"]
    assert gains({}) == []


def test_sets_are_resampled_independently_of_each_other() -> None:
    arms = {(10, "distilled"): [0.6], (10, "control"): [0.5]}
    one, other = (
        differences({"set": made_up(arms, stream, noise=0.02)}, (10, "distilled"), (10, "control"))["set"].points
        for stream in (0, 1)
    )
    assert one[0] == other[0]
    assert sorted(one[1:]) == pytest.approx(sorted(other[1:]))
    assert abs(np.corrcoef(one[1:], other[1:])[0, 1]) < 0.1
    (single,) = gains({"one": made_up(arms, 0, noise=0.02)})
    (both,) = gains({"one": made_up(arms, 0, noise=0.02), "other": made_up(arms, 1, noise=0.02)})
    assert (both.high - both.low) / (single.high - single.low) == pytest.approx(math.sqrt(0.5), abs=0.1)


def test_the_closed_gap_is_a_share_of_what_all_labels_are_worth() -> None:
    arms = {(10, "control"): [0.5, 0.5], (10, "distilled"): [0.58, 0.58], (100, "control"): [0.6, 0.6]}
    narrow = {(10, "control"): [0.5], (10, "distilled"): [0.9], (100, "control"): [0.52]}
    (row,) = gap_closed({"cards": made_up(arms), "bccd": made_up(narrow, 1)})
    assert (row.value, row.low, row.high) == pytest.approx((0.8, 0.8, 0.8))
    assert (row.n, row.met, list(row.details["sets"])) == (2 * IMAGES, True, ["cards"])
    assert gap_closed({"bccd": made_up(narrow)}) == []


def test_the_closed_gap_is_of_seeds_that_all_three_arms_have() -> None:
    arms = {(10, "control"): [0.5, 0.1, 0.1], (10, "distilled"): [0.58, 0.9], (100, "control"): [0.6, None, 0.9]}
    (row,) = gap_closed({"cards": made_up(arms)})
    assert row.value == pytest.approx(0.8)
    assert row.details["sets"]["cards"]["seeds"] == 1


def test_steps_are_counted_until_the_student_is_as_good_as_its_control_ever_was() -> None:
    control = curve(0.1, 0.3, 0.5, 0.5, 0.4)
    assert steps_ratio(curve(0.4, 0.5, 0.7), control) == pytest.approx(200 / 300)
    assert steps_ratio(curve(0.4, 0.49), control) == math.inf


def test_a_student_that_never_gets_there_counts_in_the_median() -> None:
    control = curve(0.1, 0.3, 0.3, 0.5)
    pairs = {"cards 0": (curve(0.5), control), "cards 1": (curve(0.4, 0.5), control), "cards 2": (curve(0.4), control)}
    (row,) = steps_to_control(pairs)
    assert (row.value, row.high, row.n, row.met) == (0.5, math.inf, 3, True)
    assert row.details["reached"] == 2
    assert steps_to_control({}) == []
