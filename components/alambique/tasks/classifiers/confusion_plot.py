"""The confusion matrix as a plot."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from alambique.report.plots import INK, STYLE, svg

MOST_NAMES = 40
"""Classes, at most, whose names fit beside the plot."""
MOST_NUMBERS = 15
"""Classes, at most, whose shares fit into its cells."""


def confusion(counts: NDArray[np.integer], classes: Sequence[str]) -> str:
    """The confusion matrix as SVG: a row a true class, in shares of it.

    Args:
        counts: samples of each class (row) by the predicted class (column), (classes, classes).
        classes: names.
    """
    shares = counts / counts.sum(axis=1, keepdims=True).clip(1)
    side = min(2.2 + 0.36 * len(classes), 9.0)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(side, side), layout="constrained")
        axes = figure.subplots()
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, alpha=0.85)
        axes.set_xlabel("taken for")
        axes.set_ylabel("is")
        if len(classes) <= MOST_NAMES:
            axes.set_xticks(range(len(classes)), classes, rotation=90)
            axes.set_yticks(range(len(classes)), classes)
        else:
            axes.set_xticks([])
            axes.set_yticks([])
        if len(classes) <= MOST_NUMBERS:
            for row, column in zip(*np.nonzero(counts), strict=True):
                share = shares[row, column]
                ink = "white" if share > 0.6 else INK
                axes.text(column, row, f"{100 * share:.0f}", ha="center", va="center", fontsize=8, color=ink)
        return svg(figure)
