from __future__ import annotations

import numpy as np
import pytest

from alambique.drift.effect_sizes import class_divergence, stability_index


def test_the_stability_index_of_a_sample_and_itself_is_zero() -> None:
    sample = np.random.default_rng(0).normal(size=500)
    assert stability_index(sample, sample) == pytest.approx(0)


def test_the_stability_index_is_the_textbooks() -> None:
    reference = np.arange(100, dtype=float)  # ten in each decile
    batch = np.concatenate([np.full(20, 5.0), np.arange(10, 90, dtype=float)])  # 20, ten in each of eight, none
    expected = (0.2 - 0.1) * np.log(0.2 / 0.1) + (1e-4 - 0.1) * np.log(1e-4 / 0.1)
    assert stability_index(reference, batch) == pytest.approx(expected)


def test_counts_have_fewer_bins_than_deciles() -> None:
    assert stability_index(np.repeat([0.0, 1.0], 50), np.repeat([0.0, 1.0], [10, 90])) > 0.25
    assert stability_index(np.zeros(50), np.zeros(40)) == 0


def test_the_divergence_is_that_of_the_smoothed_reference() -> None:
    reference, batch = np.array([50.0, 50.0, 0.0]), np.array([10.0, 80.0, 10.0])
    first, second = batch / 100, (reference + 0.5) / 101.5
    expected = np.sum(first * np.log(first / second))
    assert class_divergence(reference, batch) == pytest.approx(expected)


def test_no_prediction_has_no_divergence() -> None:
    assert class_divergence(np.array([1.0, 2.0]), np.zeros(2)) is None
