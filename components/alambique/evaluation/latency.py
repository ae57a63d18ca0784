"""Confidence interval of a difference in latency: a bootstrap paired over the benchmark's rounds.

Every round times each artifact once, so that a slow phase of the machine affects all of them and cancels out in the
difference of two that are resampled together.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from alambique.evaluation.leaderboard import Delta
from alambique.evaluation.paired_bootstrap import LEVEL, RESAMPLES, SEED


def difference(first: Sequence[float], second: Sequence[float]) -> Delta:
    """Median of `first` minus that of `second`, with its percentile interval.

    Args:
        first, second: milliseconds, those of a round at the same place.
    """
    times = np.array([first, second])  # (2, rounds)
    rounds = times.shape[1]
    drawn = np.random.default_rng(SEED).integers(rounds, size=(RESAMPLES, rounds))
    medians = np.median(times[:, drawn], axis=2)  # (2, resamples)
    low, high = np.quantile(medians[0] - medians[1], [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    value = float(np.median(times[0]) - np.median(times[1]))
    return {"value": value, "low": float(low), "high": float(high), "n": rounds}
