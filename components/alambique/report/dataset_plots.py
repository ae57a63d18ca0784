"""Plots of a dataset's page: how the sizes of its samples and objects are distributed in each split."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from alambique.report.plots import COLORS, plot, svg

SPLIT_COLORS = {
    "train": COLORS["openvino"],
    "val": COLORS["onnx"],
    "test": COLORS["ncnn"],
    "unlabelled": COLORS["coreml"],
}
BINS = 24
TICKS = np.array([digit * 10.0**power for power in range(-2, 9) for digit in (1, 2, 5)])


def shares(values: Mapping[str, NDArray[np.floating]], label: str, *, logarithmic: bool = False) -> str:
    """Histograms of a number in each split, in shares of the split, over common bins.

    Args:
        values: by split, (n,) each; those without any are left out.
        label: of the number, with its unit.
        logarithmic: on a scale of ratios, for which values have to be positive.
    Returns:
        an <svg> element.
    """
    known = {split: of_split for split, of_split in values.items() if len(of_split)}
    edges = _edges(np.concatenate(list(known.values())), logarithmic)
    with plot(5.6, 2.8, "y") as (figure, axes):
        for split, of_split in known.items():
            counts = np.histogram(of_split, edges)[0]
            axes.stairs(100 * counts / len(of_split), edges, color=SPLIT_COLORS[split], linewidth=1.6)
        if logarithmic:
            axes.set_xscale("log")
            ticks = TICKS[(edges[0] <= TICKS) & (edges[-1] >= TICKS)]
            ticks = ticks[:: -(-len(ticks) // 8) or 1]
            axes.minorticks_off()
            axes.set_xticks(ticks, [f"{tick:,.6g}" for tick in ticks])
        axes.set(xlabel=label, ylabel="share of the split, %")
        return svg(figure)


def image_sizes(sizes: Mapping[str, NDArray[np.floating]]) -> str:
    """Scatter plot of images' widths and heights, (n, 2) by split; a dot is as large as it has images.

    Sizes are rounded to a 40th of their range: thousands of dots tell no more, and make a large file.
    """
    step = max(np.ptp(np.concatenate(list(sizes.values())), axis=0).max() / 40, 1)
    with plot(5.6, 2.8) as (figure, axes):
        total = sum(map(len, sizes.values()))
        for split, of_split in sizes.items():
            if len(of_split):
                places, counts = np.unique(np.rint(of_split / step) * step, axis=0, return_counts=True)
                area, color = 12 + 400 * counts / total, SPLIT_COLORS[split]
                axes.scatter(places[:, 0], places[:, 1], s=area, color=color, alpha=0.45, linewidths=0)
        axes.margins(0.15)
        axes.set(xlabel="width, pixels", ylabel="height, pixels")
        return svg(figure)


def _edges(values: NDArray[np.floating], logarithmic: bool) -> NDArray[np.floating]:
    """Edges of bins of equal width or ratio; of whole numbers within a small range a bin for each."""
    low, high = float(values.min()), float(values.max())
    if logarithmic:
        return np.geomspace(low / 1.05, high * 1.05, BINS + 1)
    if np.array_equal(values, np.rint(values)):
        step = max(-(-(int(high - low) + 1) // BINS), 1)
        return np.arange(low - 0.5, high + 0.5 + step, step)
    return np.linspace(low, high, BINS + 1)
