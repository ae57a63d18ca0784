"""A few test texts with what the teacher and the best candidate predicted of each, token by token."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from markupsafe import Markup
from tokenizers import Tokenizer

from alambique.evaluation.leaderboard import Leaderboard
from alambique.layout import evaluation
from alambique.report.pictures import Picture, pick
from alambique.tasks.transformers import results
from alambique.tasks.transformers.results import TokenPredictions
from alambique.tasks.transformers.tokenizers import FILE, Pieces

LONGEST = 120
"""Tokens of a text that are shown."""
ALTERNATIVES = 3


def pictures(project: Path, board: Leaderboard) -> list[Picture]:
    """The texts on which teacher and best candidate disagree most, then some of medium agreement.

    Agreement is the share of places with the same likeliest token. None without a best candidate, or where it has
    another tokenizer than the teacher.
    """
    if board["best"] is None:
        return []
    folders = {title: project / evaluation(title) for title in (board["teacher"], board["best"])}
    columns = {title: results.read(folder) for title, folder in folders.items()}
    teacher, best = columns.values()
    if teacher.tokenizer != best.tokenizer:
        return []
    agreements = {
        name: float((text.tokens.tokens[:, 0] == best.texts[name].tokens.tokens[:, 0]).mean())
        for name, text in teacher.texts.items()
        if len(text.tokens.truth)
    }
    pieces = Pieces(Tokenizer.from_file(str(folders[board["teacher"]] / FILE)))
    return [
        Picture(
            name,
            agreements[name],
            [
                (f"{title}, missed tokens underlined", marked(column.texts[name].tokens, pieces))
                for title, column in columns.items()
            ],
        )
        for name in pick(agreements)
    ]


def marked(predictions: TokenPredictions, pieces: Pieces) -> Markup:
    """The text, wrongly predicted tokens underlined; the likeliest tokens are a tooltip of each."""
    parts = []
    for place, token in enumerate(predictions.truth[:LONGEST]):
        likely = np.exp(predictions.log_probabilities[place].astype(float))
        style = "" if predictions.correct[place] else "text-decoration: underline dotted"
        parts.append(pieces.span(token, predictions.tokens[place, :ALTERNATIVES], likely, style))
    more = " …" if len(predictions.truth) > LONGEST else ""
    return Markup(f'<p style="white-space: pre-wrap">{"".join(parts)}{more}</p>')  # noqa: S704  escaped above
