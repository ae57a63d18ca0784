"""The panel's rows: from evaluations of single trainings to differences, averaged over seeds and sets.

A difference is paired as in the product's report: within a set, each resample draws test images, the same ones for
every training, and seeds (see `alambique.evaluation.paired_bootstrap`). Its mean over sets takes a resample of each
set, drawn independently of the others'. The sets are not resampled: the interval is about these sets.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from alambique.evaluation import paired_bootstrap
from alambique.evaluation.paired_bootstrap import RESAMPLES, Resample
from alambique.tasks import curves
from benchmarks.common import Row

Curve = Sequence[curves.Row]
Key = tuple[int, str]
"""Share of the labels, per cent, and arm."""

GAINS: dict[str, tuple[Key, Key, str]] = {
    "panel_gain_10": ((10, "distilled"), (10, "control"), "≥ 5, low > 0"),
    "panel_gain_20": ((20, "distilled"), (20, "control"), "≥ 4, low > 0"),
    "panel_gain_100": ((100, "distilled"), (100, "control"), "≥ 2, low > 0"),
    "panel_soft_over_start": ((10, "distilled"), (10, "start"), "low > 0"),
    "panel_over_builtin": ((100, "distilled"), (100, "builtin"), "low > 0"),
    "teacher_gap": ((100, "teacher"), (100, "distilled"), "≤ 4"),
}
LEAST_GAP = 3.0
"""Points between all labels and 10 %; a set with less does not count for the share of them that is closed."""


class Results(NamedTuple):
    """What is measured of a set.

    Attributes:
        evaluations: folder by seed of each arm at each share; a teacher, trained once, has the same for every seed.
        resample: of these folders.
        stream: of random numbers, the set's own.
    """

    evaluations: Mapping[Key, Mapping[int, Path]]
    resample: Resample
    stream: int


class Difference(NamedTuple):
    """Between two arms of a set, mean over the seeds.

    Attributes:
        points: on the test images as they are, then on each resample, (1 + resamples,).
        seeds, images: how many it is of.
    """

    points: NDArray[np.float64]
    seeds: int
    images: int


def gains(results: Mapping[str, Results]) -> list[Row]:
    """Those rows of `GAINS` whose arms some set has; each is the mean over these sets.

    Args:
        results: by set.
    """
    rows = []
    for id, (first, second, goal) in GAINS.items():
        if found := differences(results, first, second):
            own = {name: _interval(difference.points) for name, difference in found.items()}
            rows.append(_row(id, _mean(found), found, goal, own))
    return rows


def gap_closed(results: Mapping[str, Results]) -> list[Row]:
    """The share of what all labels are worth to the control that the distilled student has with 10 % of them.

    It is the mean gain over the mean gap, of the sets whose gap is `LEAST_GAP` or more; no row if none is. A mean of
    the sets' own shares would depend most on the resamples in which a gap is almost zero.
    """
    distilled, few, many = arms = ((10, "distilled"), (10, "control"), (100, "control"))
    gaps = differences(results, many, few, *arms)
    gaps = {name: gap for name, gap in gaps.items() if gap.points[0] >= LEAST_GAP}
    if not gaps:
        return []
    closed = differences({name: results[name] for name in gaps}, distilled, few, *arms)
    own = {name: {"gap": gaps[name].points[0], "closed": closed[name].points[0]} for name in gaps}
    return [_row("panel_gap_closed", _mean(closed) / _mean(gaps), gaps, "≥ 0.6", own)]


def steps_to_control(pairs: Mapping[str, tuple[Curve, Curve]]) -> list[Row]:
    """The median over trainings of `steps_ratio`, infinite where a student stays below its control; no row of none.

    Args:
        pairs: curves of the distilled student and of its control, by set and seed.
    """
    if not pairs:
        return []
    ratios = {name: steps_ratio(*pair) for name, pair in pairs.items()}
    # The higher of two: there is no number between a finite one and infinity.
    low, middle, high = (float(value) for value in np.percentile(list(ratios.values()), [25, 50, 75], method="higher"))
    details = {"reached": sum(map(math.isfinite, ratios.values())), "ratios": ratios}
    return [Row("steps_to_control", middle, low, high, len(ratios), "≤ 0.5", details)]


def steps_ratio(distilled: Curve, control: Curve) -> float:
    """Steps until the student is on val as good as its control at its best, over the steps until that was so good."""
    best = max(control, key=lambda row: row["map50_95"])
    reached = [row[curves.STEP] for row in distilled if row["map50_95"] >= best["map50_95"]]
    return reached[0] / best[curves.STEP] if reached else math.inf


def differences(results: Mapping[str, Results], first: Key, second: Key, *others: Key) -> dict[str, Difference]:
    """Arm `first` − arm `second` of each set, over the seeds that these and the other arms have; none: left out."""
    found = {}
    for name, result in results.items():
        arms = [result.evaluations.get(key, {}) for key in (first, second, *others)]
        if seeds := sorted(set.intersection(*map(set, arms))):
            sides = ([arm[seed] for seed in seeds] for arm in arms[:2])
            values, images = paired_bootstrap.gains(result.resample, *sides)
            # Every set's images are drawn by the same stream: another order makes the sets' resamples independent.
            order = np.random.default_rng(result.stream).permutation(RESAMPLES)
            found[name] = Difference(100 * np.append(values[:1], values[1:][order]), len(seeds), images)
    return found


def _mean(found: Mapping[str, Difference]) -> NDArray[np.float64]:
    means: NDArray[np.float64] = np.mean([difference.points for difference in found.values()], axis=0)
    return means


def _interval(values: NDArray[np.float64]) -> dict[str, float]:
    """Args: values: as `Difference.points`."""
    low, high = paired_bootstrap.percentiles(values)
    return {"value": float(values[0]), "low": low, "high": high}


def _row(
    id: str, values: NDArray[np.float64], found: Mapping[str, Difference], goal: str, own: Mapping[str, Any]
) -> Row:
    """Args: values: of the row, as `Difference.points`; found: what it is of; own: figures of each set."""
    n = sum(difference.seeds * difference.images for difference in found.values())
    sets = {name: {"seeds": each.seeds, "images": each.images, **own[name]} for name, each in found.items()}
    return Row(id, n=n, goal=goal, details={"sets": sets}, **_interval(values))
