"""A task's figures: names, units and directions, for the leaderboard, the gates and the report."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Metrics = dict[str, Any]
"""Content of a metrics file: numbers and strings by name, two levels of nesting at most."""


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
