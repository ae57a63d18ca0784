"""A few test texts with what the teacher and the best candidate foretold of each, token by token."""

from __future__ import annotations

import html
import math
from pathlib import Path

from markupsafe import Markup
from tokenizers import Tokenizer

from alambique.evaluation.leaderboard import Leaderboard
from alambique.layout import evaluation
from alambique.report.pictures import Picture, pick
from alambique.tasks.text import results
from alambique.tasks.text.results import Foretold
from alambique.tasks.text.tokenizer import FILE, Pieces

LONGEST = 120
"""Tokens of a text that are shown."""
ALTERNATIVES = 3


def choose(project: Path, board: Leaderboard) -> list[Picture]:
    """The texts on which teacher and best candidate disagree most, then some of middling agreement.

    None without a best candidate.
    """
    if board["best"] is None:
        return []
    folders = {title: project / evaluation(title) for title in (board["teacher"], board["best"])}
    columns = {title: results.read(folder)[0] for title, folder in folders.items()}
    teacher, best = columns.values()
    agreements = {name: agreement(teacher[name], best[name]) for name in sorted(teacher.keys() & best.keys())}
    pieces = Pieces(Tokenizer.from_file(str(folders[board["teacher"]] / FILE)))
    return [
        Picture(
            name,
            agreements[name],
            [(f"{title}, missed tokens underlined", marked(rows[name], pieces)) for title, rows in columns.items()],
        )
        for name in pick(agreements)
    ]


def agreement(first: Foretold, second: Foretold) -> float:
    """Share of places with the same likeliest token."""
    return float((first.tokens[:, 0] == second.tokens[:, 0]).mean())


def marked(row: Foretold, pieces: Pieces) -> Markup:
    """The text, what was not foretold underlined; pointed at, a token says what was expected."""
    parts = []
    for place, token in enumerate(row.truth[:LONGEST]):
        likely = zip(row.tokens[place, :ALTERNATIVES], row.logits[place], strict=False)
        title = " · ".join(f"{pieces(int(each))!r} {math.exp(chance):.2g}" for each, chance in likely)
        style = "" if row.right[place] else ' style="text-decoration: underline dotted"'
        text = html.escape(pieces(int(token)))
        parts.append(f'<span title="{html.escape(title, quote=True)}"{style}>{text}</span>')
    more = " …" if len(row.truth) > LONGEST else ""
    return Markup(f'<p style="white-space: pre-wrap">{"".join(parts)}{more}</p>')  # noqa: S704  escaped above
