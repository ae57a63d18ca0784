"""A task's figures: names, units and directions, for leaderboard, gates and report; the calibration error."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Metrics = dict[str, Any]
"""Content of a metrics file: numbers and strings by name, two levels of nesting at most."""

BINS = 15
"""Of the calibration error, of equal width, as in Guo et al. 2017."""


class Interval(NamedTuple):
    """A difference in the task's headline metric with its 95 % bootstrap interval.

    Attributes:
        value: mean over the seeds, on the test samples as they are.
        low, high: percentile bootstrap over test samples, and over seeds if there are several.
        seeds, images: how many of each it was computed from.
    """

    value: float
    low: float
    high: float
    seeds: int
    images: int


class Measure(NamedTuple):
    """How one figure of a task's evaluations is shown and compared.

    Attributes:
        label: its name in tables.
        unit: points: a fraction from 0 to 1, shown as 0 to 100; number: shown as it is.
        lower_is_better: of two figures.
        shown: whether tables have a column for it; gates may name it in any case.
        about: its definition, shown in the report.
    """

    label: str
    unit: Literal["points", "number"] = "points"
    lower_is_better: bool = False
    shown: bool = False
    about: str = ""


class Resampled(NamedTuple):
    """The headline metric of e evaluations on the test samples as they are, and on each bootstrap resample of them.

    Attributes:
        values: (e, 1 + resamples); NaN where a resample has nothing to measure.
        samples: number of test samples.
    """

    values: NDArray[np.float64]
    samples: int


def expected_calibration_error(confidence: NDArray[np.floating], correct: NDArray[np.bool_]) -> float | None:
    """Mean gap between confidence and accuracy over `BINS` bins of confidence, each weighted by its size.

    Bin m holds the confidences in ((m − 1) / BINS, m / BINS]: Guo et al. 2017, On Calibration of Modern Neural
    Networks, equations 2 and 3; first in Naeini, Cooper & Hauskrecht 2015, Obtaining Well Calibrated Probabilities
    Using Bayesian Binning. A confidence of 0 is counted in the first bin.

    Args:
        confidence: 0 to 1, (n,).
        correct: whether each prediction is right, (n,).
    Returns:
        0 (calibrated) to 1; None where n is 0.
    """
    if not len(confidence):
        return None
    bins = np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
    gaps = np.bincount(bins, weights=confidence - correct, minlength=BINS)
    return float(np.abs(gaps).sum() / len(confidence))
