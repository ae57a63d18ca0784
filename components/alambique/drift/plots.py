"""Plots of the reference beside the batch: histograms and a projection of the embeddings."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from alambique.drift.two_sample_tests import standardised
from alambique.report.plots import COLORS, plot, svg

REFERENCE, BATCH = COLORS["coreml"], COLORS["openvino"]
BINS = 24


def histograms(reference: NDArray[np.float64], batch: NDArray[np.float64], label: str) -> str:
    """Histograms of a statistic over common bins, in shares of either set; an <svg> element.

    Args:
        reference, batch: (n,) and (m,).
        label: of the x axis.
    """
    edges = _edges(np.concatenate([reference, batch]))
    with plot(3.7, 2.3, "y") as (figure, axes):
        for sample, color in ((reference, REFERENCE), (batch, BATCH)):
            shares = 100 * np.histogram(sample, edges)[0] / len(sample)
            axes.stairs(shares, edges, color=color, fill=True, alpha=0.3)
            axes.stairs(shares, edges, color=color, linewidth=1.6)
        axes.set(xlabel=label, ylabel="share, %")
        axes.locator_params(axis="x", nbins=5)
        return svg(figure)


def scatter(reference: NDArray[np.float64], batch: NDArray[np.float64]) -> str:
    """Embeddings projected on the first two principal components of both sets together; an <svg> element.

    Args:
        reference, batch: (n, d) and (m, d).
    """
    vectors = standardised(np.concatenate([reference, batch]))
    analysis = PCA(2, svd_solver="full").fit(vectors)
    places = analysis.transform(vectors)
    shares = analysis.explained_variance_ratio_
    first, second = (f"component {number}, {100 * share:.0f} %" for number, share in enumerate(shares, 1))
    with plot(5.6, 4.2) as (figure, axes):
        for part, color in ((places[: len(reference)], REFERENCE), (places[len(reference) :], BATCH)):
            axes.scatter(part[:, 0], part[:, 1], s=13, color=color, alpha=0.6, linewidths=0)
        axes.set(xlabel=f"{first} of the variance", ylabel=second)
        return svg(figure)


def _edges(pooled: NDArray[np.float64]) -> NDArray[np.float64]:
    """Edges of bins of equal width; for counts a bin for each number, or for several."""
    low, high = float(pooled.min()), float(pooled.max())
    if np.array_equal(pooled, np.rint(pooled)):
        step = max(round((high - low + 1) / BINS), 1)
        return np.arange(low - 0.5, high + 0.5 + step, step)
    return np.linspace(low, high, BINS + 1)
