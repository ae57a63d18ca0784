"""Confidence interval of a difference between evaluations: a bootstrap paired over test samples and training seeds.

Each resample draws test samples with replacement, the same ones for every evaluation, so that the difficulty of a
sample cancels out in the difference; and, where there are several, seeds with replacement. The estimate is the mean
gain of the recipe over test samples and, given several seeds, over the randomness of training; one seed says nothing
about the latter.

The two are crossed, since every seed's student sees every sample; resampling each on its own is the pigeonhole
bootstrap (Owen 2007, The pigeonhole bootstrap, Annals of Applied Statistics 1(2)). The interval is the percentile one
(Efron & Tibshirani 1993, An Introduction to the Bootstrap, §13.3). Resampling S seeds shows only (S − 1)/S of their
variance: with two or three, the interval is rather too narrow than too wide.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alambique.evaluation.measures import Interval, Resampled

RESAMPLES = 1000
LEVEL = 0.95
SEED = 0
"""Of the resampling: equal evaluations give equal intervals."""

Resample = Callable[[Sequence[Path]], Resampled]
"""From evaluations' folders to their headline metrics, by `weights`; see `alambique.tasks.Task.resample`."""


def weights(samples: int) -> Iterator[NDArray[np.int64]]:
    """Multiplicities of the samples, (samples,): all ones, then those of each resample; equal for equal numbers."""
    yield np.ones(samples, np.int64)
    chance = np.random.default_rng(SEED)
    for _ in range(RESAMPLES):
        yield np.bincount(chance.integers(samples, size=samples), minlength=samples)


def once(resample: Resample, folders: Sequence[Path]) -> Resample:
    """`resample` for any of these evaluations, all of which are resampled here, so that each is only once."""
    values, samples = resample(folders)
    places = {folder: place for place, folder in enumerate(folders)}
    return lambda chosen: Resampled(values[[places[folder] for folder in chosen]], samples)


def intervals(
    resample: Resample, evaluations: Mapping[str, Path], pairs: Collection[tuple[str, str]]
) -> dict[tuple[str, str], Interval]:
    """The headline metric of the first of each pair minus that of the second.

    Args:
        evaluations: folders of evaluations by name; all are resampled at once, so that more pairs cost nothing.
        pairs: two of these names each.
    """
    if not pairs:
        return {}
    values, samples = resample(list(evaluations.values()))
    named = dict(zip(evaluations, values, strict=True))
    return {(first, second): _interval(named[first] - named[second], 1, samples) for first, second in pairs}


def gain(resample: Resample, first: Sequence[Path], second: Sequence[Path]) -> Interval:
    """The headline metric of `first` minus that of `second`, paired over seeds as well.

    Args:
        first: folders of evaluations, one a seed; or one, of a network trained once, for all seeds.
        second: folders of evaluations, one a seed, at the same places.
    """
    values, samples = gains(resample, first, second)
    return _interval(values, len(second), samples)


def gains(resample: Resample, first: Sequence[Path], second: Sequence[Path]) -> tuple[NDArray[np.float64], int]:
    """The `gain` on the test samples as they are and on each resample, (1 + resamples,); and the number of samples."""
    seeds = len(second)
    values, samples = resample([*first, *second])
    differences = values[: len(first)] - values[len(first) :]
    chance = np.random.default_rng([SEED, 1])  # another stream than that of the samples
    times = chance.multinomial(seeds, [1 / seeds] * seeds, size=RESAMPLES)
    drawn = np.vstack([np.ones(seeds), times])  # as they are, then as each resample draws them
    return (differences * drawn.T).sum(axis=0) / seeds, samples


def headline(resample: Resample, *folders: Path) -> Interval:
    """The headline metric of an evaluation, or the mean of several, over other samples like these."""
    values, samples = resample(folders)
    return _interval(values.mean(axis=0), len(folders), samples)


def percentiles(values: NDArray[np.float64]) -> tuple[float, float]:
    """The ends of the interval of a figure, which is given on the samples as they are, then on each resample."""
    # A resample without any object has no figure and is left out.
    low, high = np.nanquantile(values[1:], [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _interval(values: NDArray[np.float64], seeds: int, samples: int) -> Interval:
    return Interval(float(values[0]), *percentiles(values), seeds, samples)
