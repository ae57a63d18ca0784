"""A few test texts with their label and what the teacher and the best candidate make of them; and what is mistaken."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from markupsafe import Markup

from alambique.evaluation.leaderboard import Leaderboard
from alambique.files import read_json
from alambique.layout import DATA, evaluation
from alambique.report.pictures import Picture, pick
from alambique.tasks.classification import plots, results
from alambique.tasks.classification.results import Answers
from alambique.tasks.text.data import Texts
from alambique.tasks.text_classify.evaluate import CONFUSION

SHOWN = 3
"""Classes of each answer."""


def choose(project: Path, board: Leaderboard) -> list[Picture]:
    """The texts on which teacher and best candidate disagree most, then some of middling agreement.

    None without a best candidate.
    """
    if board["best"] is None:
        return []
    data = Texts.load(project / DATA)
    texts = {text.name: text for text in data.texts("test")}
    columns = {title: results.read(project / evaluation(title)) for title in (board["teacher"], board["best"])}
    teacher, best = columns.values()
    agreements = {name: agreement(teacher, best, place) for place, name in enumerate(teacher.samples) if name in texts}
    places = {name: place for place, name in enumerate(teacher.samples)}
    return [
        Picture(
            name,
            agreements[name],
            [
                ("text", Markup("<p>{}</p><p>{}</p>").format(texts[name].text, texts[name].label)),
                *((title, _answer(found, places[name], data.classes)) for title, found in columns.items()),
            ],
        )
        for name in pick(agreements)
    ]


def confusion(project: Path, board: Leaderboard) -> list[tuple[str, str]]:
    """The best candidate's confusion matrix."""
    if board["best"] is None:
        return []
    found = read_json(project / evaluation(board["best"]) / CONFUSION)
    return [("What is taken for what", plots.confusion(np.array(found["counts"]), found["classes"]))]


def agreement(first: Answers, second: Answers, place: int) -> float:
    """The probability that both give to a class, summed over the likeliest ones: 1 where they say the same."""
    one, other = (
        dict(zip(each.classes[place].tolist(), each.chances[place].tolist(), strict=True)) for each in (first, second)
    )
    return float(sum(min(chance, other.get(index, 0.0)) for index, chance in one.items()))


def _answer(found: Answers, place: int, classes: list[str]) -> Markup:
    rows = zip(found.classes[place, :SHOWN].tolist(), found.chances[place, :SHOWN].tolist(), strict=True)
    return Markup("<table>{}</table>").format(
        Markup("").join(
            Markup("<tr><td>{}</td><td>{:.1f} %</td></tr>").format(classes[index], 100 * chance)
            for index, chance in rows
        )
    )
