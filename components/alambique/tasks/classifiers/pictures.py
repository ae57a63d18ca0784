"""What the report shows of classifiers: samples on which teacher and best candidate disagree, and the confusion."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib
import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure
from numpy.typing import NDArray

from alambique.evaluation.leaderboard import Leaderboard
from alambique.files import read_json
from alambique.layout import evaluation
from alambique.report.pictures import Picture, pick
from alambique.report.plots import INK, STYLE, svg
from alambique.tasks.classifiers import results
from alambique.tasks.classifiers.evaluation import CONFUSION
from alambique.tasks.classifiers.results import Predictions

LISTED = 4
"""Classes that are named beside a sample."""
MOST_NAMES = 40
"""Classes, at most, whose names fit beside the plot."""
MOST_NUMBERS = 15
"""Classes, at most, whose shares fit into its cells."""


def pictures(project: Path, board: Leaderboard, classes: Sequence[str], show: Callable[[str], Markup]) -> list[Picture]:
    """The samples on which teacher and best candidate disagree most, then some of medium agreement.

    Args:
        show: a test sample as the page shows it, by its name.
    Returns:
        none without a best candidate.
    """
    if board["best"] is None:
        return []
    targets = (board["teacher"], board["best"])
    teacher, student = (results.read(project / evaluation(target)) for target in targets)
    agreements = {name: agreement(teacher, student, row) for row, name in enumerate(teacher.samples)}
    chosen = []
    for name in pick(agreements):
        row = teacher.samples.index(name)
        panels = [(classes[int(teacher.labels[row])], show(name))]
        panels += [
            (target, likeliest(predictions, row, classes))
            for target, predictions in zip(targets, (teacher, student), strict=True)
        ]
        chosen.append(Picture(name, agreements[name], panels))
    return chosen


def plots(project: Path, board: Leaderboard) -> list[tuple[str, str]]:
    """The best candidate's confusion matrix."""
    if board["best"] is None:
        return []
    matrix = read_json(project / evaluation(board["best"]) / CONFUSION)
    picture = confusion(np.array(matrix["counts"]), matrix["classes"])
    return [(f"Confusion matrix of {board['best']}, % of each true class", picture)]


def agreement(first: Predictions, second: Predictions, row: int) -> float:
    """Overlap of two networks' probabilities for one sample, Σ min(p, q) over the kept classes: 1 where equal."""
    left, right = (
        dict(zip(one.classes[row].tolist(), one.probabilities[row].tolist(), strict=True)) for one in (first, second)
    )
    return float(min(sum(min(value, right.get(index, 0.0)) for index, value in left.items()), 1.0))


def likeliest(predictions: Predictions, row: int, classes: Sequence[str]) -> Markup:
    """A sample's likeliest classes with their probabilities, as a table of the page."""
    line = Markup("<tr><td>{}</td><td>{:.1f} %</td></tr>")
    pairs = list(zip(predictions.classes[row], predictions.probabilities[row], strict=True))[:LISTED]
    lines = Markup().join(line.format(classes[int(index)], 100 * float(value)) for index, value in pairs)
    return Markup("<table>{}</table>").format(lines)


def confusion(counts: NDArray[np.integer], classes: Sequence[str]) -> str:
    """The confusion matrix, (classes, classes), as SVG: a row a true class, in shares of it; columns as predicted."""
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
