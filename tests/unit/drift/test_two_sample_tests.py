from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from alambique.drift.two_sample_tests import (
    RIDGE,
    class_counts,
    holm,
    kolmogorov_smirnov,
    maximum_mean_discrepancy,
    permutations_for,
    standardised,
)

Sample = NDArray[np.float64]


def normal(seed: int, *shape: int, shift: float = 0.0) -> Sample:
    return np.random.default_rng(seed).normal(shift, 1, shape)


def plain_mmd(first: Sample, second: Sample) -> float:
    """Equation 3 of Gretton et al. 2012, term by term, after whitening by the inverse root of the covariance."""
    pooled = standardised(np.concatenate([first, second]))
    values, directions = np.linalg.eigh(pooled.T @ pooled / len(pooled) + RIDGE * np.eye(pooled.shape[1]))
    vectors = pooled @ directions @ np.diag(values**-0.5)
    squares = [[((a - b) ** 2).sum() for b in vectors] for a in vectors]
    width = np.median([squares[i][j] for i in range(len(vectors)) for j in range(i + 1, len(vectors))])
    k = np.exp(-np.array(squares) / width)
    n, m = len(first), len(second)
    xx = sum(k[i, j] for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    yy = sum(k[n + i, n + j] for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    xy = sum(k[i, n + j] for i in range(n) for j in range(m)) / (n * m)
    return float(xx + yy - 2 * xy)


def test_mmd_is_the_textbooks() -> None:
    first, second = normal(0, 9, 3), normal(1, 6, 3, shift=0.5)
    found = maximum_mean_discrepancy(first, second, 99)
    assert found.statistic == pytest.approx(plain_mmd(first, second))


def test_mmd_sees_a_shift_of_the_mean_and_one_of_the_spread() -> None:
    first = normal(0, 80, 4)
    assert maximum_mean_discrepancy(first, normal(1, 60, 4, shift=0.6), 999).p == 1 / 1000
    assert maximum_mean_discrepancy(first, 2 * normal(1, 60, 4), 999).p == 1 / 1000


def test_equal_samples_give_equal_p_values() -> None:
    first, second = normal(0, 30, 3), normal(1, 30, 3)
    assert maximum_mean_discrepancy(first, second, 199) == maximum_mean_discrepancy(first, second, 199)


def test_a_constant_dimension_is_no_difference() -> None:
    first, second = np.ones((20, 2)), np.ones((10, 2))
    assert maximum_mean_discrepancy(first, second, 99).p == 1.0


@pytest.mark.parametrize("test", ["mmd", "classes", "ks"])
def test_p_values_without_a_difference_are_below_a_level_no_more_often_than_it(test: str) -> None:
    chance = np.random.default_rng(7)
    p = []
    for _ in range(200):
        if test == "mmd":
            p.append(maximum_mean_discrepancy(chance.normal(size=(25, 3)), chance.normal(size=(15, 3)), 99).p)
        elif test == "classes":
            p.append(class_counts(*(clustered(chance, n) for n in (25, 15)), 99).p)
        else:
            p.append(kolmogorov_smirnov(chance.normal(size=25), chance.normal(size=15)).p)
    assert np.mean(np.array(p) <= 0.05) <= 0.09  # the upper end of 200 at 0.05


def clustered(chance: np.random.Generator, images: int) -> Sample:
    """Images that hold several objects of one class each: χ² of independent objects would be far off."""
    counts = np.zeros((images, 3))
    counts[np.arange(images), chance.integers(3, size=images)] = chance.integers(1, 9, size=images)
    return counts


def test_other_frequencies_of_the_classes_are_seen() -> None:
    chance = np.random.default_rng(0)
    first, second = chance.poisson([1, 1, 1], (80, 3)), chance.poisson([1, 0.3, 1.7], (60, 3))
    assert class_counts(first.astype(float), second.astype(float), 999).p <= 0.002


def test_nothing_predicted_is_no_difference() -> None:
    assert class_counts(np.zeros((5, 3)), np.zeros((4, 3)), 99).p == 1.0


def test_holm_is_the_textbooks() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_permutations_let_the_strictest_test_be_significant() -> None:
    for level, tests in ((0.05, 12), (0.001, 12), (0.5, 1)):
        assert 1 / (permutations_for(level, tests) + 1) <= level / tests / 10 + 1e-12
