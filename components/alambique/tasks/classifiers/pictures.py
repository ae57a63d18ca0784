"""What the report shows of classifiers: samples on which teacher and best candidate disagree, and the confusion."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from markupsafe import Markup

from alambique.evaluation.leaderboard import Leaderboard
from alambique.files import read_json
from alambique.layout import evaluation
from alambique.report.pictures import Picture, pick
from alambique.tasks.classifiers import confusion_plot, results
from alambique.tasks.classifiers.evaluation import CONFUSION
from alambique.tasks.classifiers.results import Predictions

LISTED = 4
"""Classes that are named beside a sample."""


def pictures(project: Path, board: Leaderboard, classes: Sequence[str], show: Callable[[str], Markup]) -> list[Picture]:
    """The samples on which teacher and best candidate disagree most, then some of medium agreement.

    Args:
        classes: of the dataset.
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
    picture = confusion_plot.confusion(np.array(matrix["counts"]), matrix["classes"])
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
