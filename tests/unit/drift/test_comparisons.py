from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from factories.drift_features import batch, network_features, reference

from alambique.drift import image_statistics
from alambique.drift.comparisons import Signal, class_divergence, compare, stability_index
from alambique.drift.features import Batch

BATCHES, IMAGES, LEVEL = 40, 60, 0.05


def rate(change: Callable[[Batch, int], Batch]) -> tuple[float, set[str]]:
    """Share of batches that are called drifted, each with a reference of its own, and by which signals."""
    drifted = [
        {signal.name for signal in compare(reference(2 * seed), change(batch(IMAGES, 2 * seed + 1), seed), LEVEL)
         if signal.drifted}
        for seed in range(BATCHES)
    ]  # fmt: skip
    return float(np.mean([bool(names) for names in drifted])), set().union(*drifted)


def moved(statistic: str) -> Callable[[Batch, int], Batch]:
    def change(given: Batch, _: int) -> Batch:
        table = given.statistics.copy()
        table[:, image_statistics.NAMES.index(statistic)] += 1
        return given._replace(statistics=table)

    return change


def embedded(given: Batch, _: int) -> Batch:
    return given._replace(
        network_features=given.network_features._replace(embeddings=given.network_features.embeddings + 0.5)
    )


def unsure(given: Batch, _: int) -> Batch:
    numbers = {**given.network_features.numbers, "confidence": given.network_features.numbers["confidence"] * 0.7}
    return given._replace(network_features=given.network_features._replace(numbers=numbers))


def reclassed(given: Batch, seed: int) -> Batch:
    return given._replace(
        network_features=network_features(IMAGES, np.random.default_rng(1000 + seed), (0.2, 0.3, 0.5))
    )


def test_batches_like_the_reference_are_seldom_called_drifted() -> None:
    share, _ = rate(lambda given, _: given)
    assert share <= 0.125  # the upper end of 40 at 0.05


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (moved("sharpness"), "sharpness"),
        (moved("aspect"), "aspect"),
        (embedded, "embedding"),
        (unsure, "confidence"),
        (reclassed, "classes"),
    ],
)
def test_a_shift_is_seen_by_its_own_signal(change: Callable[[Batch, int], Batch], name: str) -> None:
    share, names = rate(change)
    assert share >= 0.95
    assert name in names


def test_what_never_varies_is_not_asked() -> None:
    names = {signal.name for signal in compare(reference(), batch(IMAGES, 1), LEVEL)}
    assert names == {*image_statistics.NAMES, "embedding", "confidence", "boxes", "classes"} - {"aspect"}


def test_without_a_reference_for_the_network_only_pixels_are_compared() -> None:
    alone = reference()._replace(network_features=None)
    assert {signal.source for signal in compare(alone, batch(IMAGES, 1), LEVEL)} == {"image"}


def test_every_signal_has_its_figures() -> None:
    signals = compare(reference(), moved("blue")(batch(IMAGES, 1), 0), LEVEL)
    assert all(0 < signal.p <= signal.adjusted <= 1 and signal.effect is not None for signal in signals)
    assert [signal.name for signal in signals if signal.drifted] == ["blue"]
    assert {signal.measure for signal in signals} == {"PSI", "KL", "MMD"}


def test_equal_sets_give_equal_signals() -> None:
    first, second = (compare(reference(), batch(IMAGES, 1), LEVEL) for _ in range(2))
    assert first == second
    assert all(isinstance(signal, Signal) for signal in first)


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
