"""Effect sizes, which p-values do not give: with many images the smallest difference is significant."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import entropy

BINS = 10
FLOOR = 1e-4
"""Assumed share of an empty bin."""


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
