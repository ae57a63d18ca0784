"""A few test images with their class, and what the teacher and the best candidate take them for; and the confusion."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from markupsafe import Markup

from alambique.evaluation.leaderboard import Leaderboard
from alambique.files import read_json
from alambique.layout import DATA, evaluation
from alambique.report.pictures import Picture, load, pick, shown
from alambique.tasks.classification import plots as drawn
from alambique.tasks.classification import results
from alambique.tasks.classification.results import Answers
from alambique.tasks.classify.dataset import Dataset
from alambique.tasks.classify.evaluate import CONFUSION

LISTED = 4
"""Classes that are named beside an image."""


def choose(project: Path, board: Leaderboard) -> list[Picture]:
    """The images on which teacher and best candidate disagree most, then some of middling agreement.

    None without a best candidate.
    """
    if board["best"] is None:
        return []
    subjects = (board["teacher"], board["best"])
    teacher, student = (results.read(project / evaluation(subject)) for subject in subjects)
    data = Dataset.load(project / DATA)
    agreements = {name: agreement(teacher, student, place) for place, name in enumerate(teacher.samples)}
    pictures = []
    for name in pick(agreements):
        place = teacher.samples.index(name)
        truth = data.classes[int(teacher.truth[place])]
        panels = [(truth, shown(load(data.root / "images" / name), name))]
        panels += [
            (subject, likeliest(one, place, data)) for subject, one in zip(subjects, (teacher, student), strict=True)
        ]
        pictures.append(Picture(name, agreements[name], panels))
    return pictures


def plots(project: Path, board: Leaderboard) -> list[tuple[str, str]]:
    """The best candidate's confusion matrix."""
    if board["best"] is None:
        return []
    found = read_json(project / evaluation(board["best"]) / CONFUSION)
    picture = drawn.confusion(np.array(found["counts"]), found["classes"])
    return [(f"What {board['best']} takes for what, % of each true class", picture)]


def agreement(first: Answers, second: Answers, place: int) -> float:
    """How much two networks' probabilities of one sample have in common, 0 to 1."""
    one, other = (
        dict(zip(each.classes[place].tolist(), each.chances[place].tolist(), strict=True)) for each in (first, second)
    )
    return float(min(sum(min(chance, other.get(index, 0.0)) for index, chance in one.items()), 1.0))


def likeliest(found: Answers, place: int, data: Dataset) -> Markup:
    """A sample's likeliest classes with their probabilities, as rows of a page's table."""
    row = Markup("<tr><td>{}</td><td>{:.1f} %</td></tr>")
    pairs = list(zip(found.classes[place], found.chances[place], strict=True))[:LISTED]
    rows = Markup().join(row.format(data.classes[int(index)], 100 * float(chance)) for index, chance in pairs)
    return Markup("<table>{}</table>").format(rows)
