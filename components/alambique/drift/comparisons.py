"""What may differ between a production batch and the reference, each by one test, all corrected for their number."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from alambique.drift import effect_sizes, image_statistics, two_sample_tests
from alambique.drift.features import Batch, Reference
from alambique.tasks import DriftFeatures


@dataclass(frozen=True)
class Signal:
    """One question asked of the batch.

    Attributes:
        name: of what was compared.
        source: image: the pixels, against training images; network: what the champion makes of them, against images
            that it was not trained on.
        test: KS (two-sample Kolmogorov-Smirnov), MMD² (kernel, permutation) or χ² (permutation over images).
        statistic: of the test.
        p: of it alone; adjusted: for all the signals that were asked (Holm).
        effect: how large the difference is, by `measure`: PSI (population stability index), KL (divergence of the
            classes, nats), or MMD (distance in the kernel's space, at most √2).
        drifted: whether the adjusted p-value is within the share of false alarms that is allowed.
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


def compare(reference: Reference, batch: Batch, false_alarms: float, classes: bool = True) -> list[Signal]:
    """Ask everything of the batch.

    Args:
        false_alarms: share of undrifted batches for which any signal may drift.
        classes: whether the effect on the classes is measured, too, which takes a library of several seconds.
    """
    count = len(image_statistics.NAMES) + (2 + len(batch.observed.numbers) if reference.observed else 0)
    permutations = two_sample_tests.permutations_for(false_alarms, count)
    found = [*_image_signals(reference, batch)]
    if reference.observed is not None:
        found += _network_signals(reference.observed, batch.observed, permutations, classes)
    adjusted = two_sample_tests.holm([signal.p for signal in found])
    return [replace(signal, adjusted=p, drifted=p <= false_alarms) for signal, p in zip(found, adjusted, strict=True)]


def any_drifted(signals: Iterable[Signal]) -> bool:
    """Whether the batch differs in anything."""
    return any(signal.drifted for signal in signals)


def _image_signals(reference: Reference, batch: Batch) -> Iterator[Signal]:
    for index, name in enumerate(image_statistics.NAMES):
        first, second = reference.statistics[:, index], batch.statistics[:, index]
        if np.ptp(np.concatenate([first, second])) > 0:  # all images of one camera have one width and height
            result = two_sample_tests.kolmogorov_smirnov(first, second)
            yield Signal(name, "image", "KS", *result, effect_sizes.stability_index(first, second), "PSI")


def _network_signals(
    reference: DriftFeatures, batch: DriftFeatures, permutations: int, classes: bool
) -> Iterator[Signal]:
    result = two_sample_tests.maximum_mean_discrepancy(reference.embeddings, batch.embeddings, permutations)
    yield Signal("embedding", "network", "MMD²", *result, float(np.sqrt(max(result.statistic, 0))), "MMD")
    for name, first in reference.numbers.items():
        second = batch.numbers[name]
        result = two_sample_tests.kolmogorov_smirnov(first, second)
        yield Signal(name, "network", "KS", *result, effect_sizes.stability_index(first, second), "PSI")
    result = two_sample_tests.class_counts(reference.counts, batch.counts, permutations)
    totals = reference.counts.sum(axis=0), batch.counts.sum(axis=0)
    effect = effect_sizes.class_divergence(*totals, reference.classes) if classes else None
    yield Signal("classes", "network", "χ²", *result, effect, "KL")
