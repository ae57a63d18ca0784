"""The comparisons of a production batch with the reference: for each statistic a test and an effect size.

With many images the smallest difference is significant, so that a p-value alone does not tell how large it is.

To add a drift statistic of pixels, add it to `image_statistics`: every column is compared here. One of the network's
outputs belongs into `numbers` of the task's `drift_features`. The p-values are corrected for the number of comparisons.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import entropy

from alambique.drift import image_statistics, two_sample_tests
from alambique.drift.features import Batch, Reference
from alambique.tasks.base import DriftFeatures

BINS = 10
FLOOR = 1e-4
"""Assumed share of an empty bin."""


@dataclass(frozen=True)
class Signal:
    """The comparison of one statistic.

    Attributes:
        name: of the statistic.
        source: image: of the pixels, compared with training images; network: of the champion's outputs, compared with
            those on images that it was not trained on.
        test: KS (two-sample Kolmogorov-Smirnov), MMD² (kernel, permutation) or χ² (permutation over images).
        statistic: of the test.
        p: of this test alone; adjusted: for the number of comparisons (Holm).
        effect: how large the difference is, by `measure`: PSI (population stability index), KL (divergence of the
            classes, nats), or MMD (distance in the kernel's space, at most √2).
        drifted: whether the adjusted p-value is at most the configured rate of false alarms.
    """

    name: str
    source: Literal["image", "network"]
    test: Literal["KS", "MMD²", "χ²"]
    statistic: float
    p: float
    effect: float | None
    measure: Literal["PSI", "KL", "MMD"]
    adjusted: float = 1.0
    drifted: bool = False


def compare(reference: Reference, batch: Batch, false_alarms: float) -> list[Signal]:
    """One signal for each statistic, with p-values adjusted for their number.

    Args:
        false_alarms: fraction of undrifted batches in which any signal may drift.
    """
    count = len(image_statistics.NAMES) + (2 + len(batch.network_features.numbers) if reference.network_features else 0)
    permutations = two_sample_tests.permutations_for(false_alarms, count)
    signals = list(_image_signals(reference, batch))
    if reference.network_features is not None:
        signals += _network_signals(reference.network_features, batch.network_features, permutations)
    adjusted = two_sample_tests.holm([signal.p for signal in signals])
    return [replace(signal, adjusted=p, drifted=p <= false_alarms) for signal, p in zip(signals, adjusted, strict=True)]


def stability_index(reference: NDArray[np.float64], batch: NDArray[np.float64]) -> float:
    """Population stability index over the reference's deciles: Σ (b − r) ln(b / r), b and r the shares in a bin.

    By custom, less than 0.1 is little and more than 0.25 is much (Siddiqi 2006, Credit Risk Scorecards, §8).

    Args:
        reference, batch: (n,) and (m,).
    """
    edges = np.unique(np.quantile(reference, np.linspace(0, 1, BINS + 1)))[1:-1]
    first, second = (
        np.bincount(np.searchsorted(edges, sample, side="left"), minlength=len(edges) + 1) / len(sample)
        for sample in (reference, batch)
    )
    first, second = np.maximum(first, FLOOR), np.maximum(second, FLOOR)
    return float(np.sum((second - first) * np.log(second / first)))


def class_divergence(reference: NDArray[np.float64], batch: NDArray[np.float64]) -> float | None:
    """Kullback–Leibler divergence of the batch's class distribution from the reference's, nats.

    Args:
        reference, batch: totals by class, (classes,). Half a count is added to each of the reference's, or a class that
            it lacks would make the divergence infinite.
    Returns:
        None if the batch holds nothing.
    """
    return float(entropy(batch, reference + 0.5)) if batch.any() else None


def _image_signals(reference: Reference, batch: Batch) -> Iterator[Signal]:
    for index, name in enumerate(image_statistics.NAMES):
        first, second = reference.statistics[:, index], batch.statistics[:, index]
        if np.ptp(np.concatenate([first, second])) > 0:  # constant where one camera took all images, as with the aspect
            result = two_sample_tests.kolmogorov_smirnov(first, second)
            yield Signal(name, "image", "KS", *result, stability_index(first, second), "PSI")


def _network_signals(reference: DriftFeatures, batch: DriftFeatures, permutations: int) -> Iterator[Signal]:
    result = two_sample_tests.maximum_mean_discrepancy(reference.embeddings, batch.embeddings, permutations)
    yield Signal("embedding", "network", "MMD²", *result, float(np.sqrt(max(result.statistic, 0))), "MMD")
    for name, first in reference.numbers.items():
        second = batch.numbers[name]
        result = two_sample_tests.kolmogorov_smirnov(first, second)
        yield Signal(name, "network", "KS", *result, stability_index(first, second), "PSI")
    result = two_sample_tests.class_counts(reference.counts, batch.counts, permutations)
    totals = reference.counts.sum(axis=0), batch.counts.sum(axis=0)
    yield Signal("classes", "network", "χ²", *result, class_divergence(*totals), "KL")
