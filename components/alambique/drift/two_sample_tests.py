"""Two-sample tests of equal distribution, and the correction for their number (Holm).

A p-value by permutation is (1 + b) / (1 + B), b of B permutations being at least as extreme (Phipson & Smyth
2010, Permutation P-values Should Never Be Zero): it holds for samples of any size.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from scipy.stats import ks_2samp

SEED = 0
"""Of the permutations: equal samples give equal p-values."""

LARGEST = 1000
"""Rows of each sample that the kernel is computed on, at most."""

RIDGE = 0.1
"""Added to the variance of each direction, in units of a dimension's, so that noise is not amplified."""


class Result(NamedTuple):
    """A statistic, which is larger the more two samples differ, and its p-value."""

    statistic: float
    p: float


def kolmogorov_smirnov(first: NDArray[np.float64], second: NDArray[np.float64]) -> Result:
    """Largest distance between the distribution functions of two samples of numbers, (n,) and (m,).

    Equal values, as in counts, make the p-value too large, never too small (Noether 1963).
    """
    result = ks_2samp(first, second, method="asymp")
    return Result(float(result.statistic), float(result.pvalue))


def maximum_mean_discrepancy(first: NDArray[np.float64], second: NDArray[np.float64], permutations: int) -> Result:
    """Unbiased MMD² of two samples of vectors, (n, d) and (m, d), with a Gaussian kernel as wide as their median
    distance; by permutation.

    Gretton et al. 2012, A Kernel Two-Sample Test (JMLR 13), equation 3 and §8. Both samples are first whitened
    together: a network's features are so correlated that a single direction would dominate the distances. On the scenes
    of benchmarks/drift.py at p ≤ 0.004, blur was detected in 67 % of the batches, without whitening in 13 %, and by a
    classifier two-sample test (logistic regression) in 33 %; a change of colours in 100, 78 and 95 %.
    """
    chance = np.random.default_rng(SEED)
    first, second = (_at_most(LARGEST, sample, chance) for sample in (first, second))
    kernel = _kernel(np.concatenate([first, second]))
    n, m = len(first), len(second)
    members = _memberships(n, m, permutations, chance)
    inside = np.einsum("ij,ij->i", members @ kernel, members)  # the kernel's sum within the first sample,
    touched, total = members @ kernel.sum(axis=1), float(kernel.sum())  # from it to all rows, and over all
    across, outside = touched - inside, total - 2 * touched + inside
    values = inside / (n * (n - 1)) + outside / (m * (m - 1)) - 2 * across / (n * m)
    return _ranked(values)


def class_counts(first: NDArray[np.float64], second: NDArray[np.float64], permutations: int) -> Result:
    """Pearson's χ² of two samples' totals by class, from counts an image, (n, classes) and (m, classes).

    Objects of one image are correlated, so that χ² of independent objects would give too many false alarms; therefore
    whole images are permuted.
    """
    counts = np.concatenate([first, second])
    counts = counts[:, counts.any(axis=0)]
    if not counts.size:
        return Result(0.0, 1.0)
    chance = np.random.default_rng(SEED)
    ones = _memberships(len(first), len(second), permutations, chance) @ counts  # (1 + permutations, classes)
    twos = counts.sum(axis=0) - ones
    sums = np.stack([ones.sum(axis=1), twos.sum(axis=1)])
    shares = counts.sum(axis=0) / counts.sum()
    expected = [sums[side][:, None] * shares for side in (0, 1)]
    terms = [
        (totals - mean) ** 2 / np.maximum(mean, 1e-12) for totals, mean in zip((ones, twos), expected, strict=True)
    ]
    return _ranked(np.sum(terms, axis=(0, 2)))


def permutations_for(level: float, tests: int) -> int:
    """Permutations needed so that the strictest of the corrected tests can be significant."""
    return max(999, math.ceil(10 * tests / level) - 1)


def holm(p: list[float]) -> list[float]:
    """p-values adjusted for their number: those up to a level bound the chance of any false alarm by that level,
    however the tests depend on each other (Holm 1979, A Simple Sequentially Rejective Multiple Test Procedure)."""
    order = np.argsort(p, kind="stable")
    factors = np.arange(len(p), 0, -1)
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(np.maximum.accumulate(factors * np.array(p)[order]), 1)
    return [float(value) for value in adjusted]


def standardised(pooled: NDArray[np.float64], like: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
    """Vectors with mean 0 and standard deviation 1 in each dimension, over `like` or themselves; constants are 0."""
    like = pooled if like is None else like
    spread = like.std(axis=0)
    return np.where(spread > 0, (pooled - like.mean(axis=0)) / np.where(spread > 0, spread, 1), 0)


def _kernel(pooled: NDArray[np.float64]) -> NDArray[np.float64]:
    """Gaussian, without its diagonal, (N, N), of vectors, (N, d), that are whitened first.

    Along their principal directions all then have the same variance but for `RIDGE`.
    """
    directions, lengths, _ = np.linalg.svd(standardised(pooled), full_matrices=False)
    vectors = directions * lengths / np.sqrt(lengths**2 / len(pooled) + RIDGE)
    squares = cdist(vectors, vectors, "sqeuclidean")
    width = np.median(squares[np.triu_indices(len(squares), 1)]) or 1.0
    kernel: NDArray[np.float64] = np.exp(-squares / width)
    np.fill_diagonal(kernel, 0)
    return kernel


def _memberships(n: int, m: int, permutations: int, chance: np.random.Generator) -> NDArray[np.float64]:
    """1 where a pooled row belongs to the first sample: unpermuted, then permuted, (1 + permutations, n + m)."""
    unpermuted = np.repeat([1.0, 0.0], [n, m])
    shuffled = chance.permuted(np.tile(unpermuted, (permutations, 1)), axis=1)
    return np.vstack([unpermuted, shuffled])


def _ranked(values: NDArray[np.float64]) -> Result:
    """The first value, and its p-value by rank among all; differences by rounding count as equal."""
    reached = np.count_nonzero(values[1:] >= values[0] - 1e-9 * abs(values[0]))
    return Result(float(values[0]), float((1 + reached) / len(values)))


def _at_most(count: int, sample: NDArray[np.float64], chance: np.random.Generator) -> NDArray[np.float64]:
    if len(sample) <= count:
        return sample
    return sample[np.sort(chance.choice(len(sample), count, replace=False))]
