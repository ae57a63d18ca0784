"""What every task's `alambique softlabels inspect` tells of a cache: its teachers, its size, a histogram."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from alambique.evaluation.measures import Measure
from alambique.files import read_json
from alambique.layout import CARD, SOFT_LABELS, TEACHERS
from alambique.report.figures import in_unit, points, singular
from alambique.report.terminal import WIDTH
from alambique.softlabels.schema import Recipe

BINS = 20
"""Of a histogram from 0 to 1."""
BAR = 36
"""Characters of the longest bar."""


def cache_facts(
    project: Path, recipe: Recipe[Any], items: int, of: str, measures: Mapping[str, Measure]
) -> dict[str, str]:
    """A cache's key, teachers and size in words.

    Of a teacher that the project has, its name, and its headline metric on val as its card says.

    Args:
        items, of: how many there are, and what they are called, in the plural.
        measures: the task's, the headline first.
    """
    headline, measure = next(iter(measures.items()))
    cards = {path.parent.name: read_json(path) for path in sorted((project / TEACHERS).glob(f"*/{CARD}"))}
    names = {card["sha256"]: name for name, card in cards.items()}

    def teacher(digest: str) -> str:
        words, card = f"{names.get(digest, '')} {digest[:12]}".strip(), cards.get(names.get(digest, ""), {})
        key = f"val_{headline}"
        return f"{words}, {measure.label} {in_unit(card[key], measure.unit)} on val" if key in card else words

    size = sum(path.stat().st_size for path in (project / SOFT_LABELS).glob("[!.]*/*"))
    combined = f" ({recipe.combine})" if len(recipe.teachers) > 1 else ""
    return {
        "key": recipe.digest(),
        "teachers": "; ".join(map(teacher, recipe.teachers)) + combined,
        "on disk": f"{size:,} bytes, {size / max(items, 1):,.0f} {singular(of)}",
    }


def print_facts(facts: Mapping[str, str], console: Console) -> None:
    """Print a line for each."""
    if not console.is_terminal:
        console.width = WIDTH  # a pipe has no width of its own
    about = Table.grid(padding=(0, 2))
    for name, value in facts.items():
        about.add_row(f"[dim]{name}[/]", escape(value))
    console.print(about)


def print_histogram(title: str, unit: str, counts: NDArray[np.int64], console: Console) -> None:
    """Print a line for every two of the `BINS` counts: their share of all, as a bar too."""
    console.print(f"\n[bold]{title}[/], share of {unit}", highlight=False)
    parts = counts.reshape(-1, 2).sum(1) / max(int(counts.sum()), 1)
    for index, part in enumerate(parts):
        bounds, bar = f"{2 * index / BINS:.1f}–{2 * (index + 1) / BINS:.1f}", round(BAR * part / max(parts.max(), 1e-9))
        console.print(f"  {bounds} {points(part):>6} %  {'█' * bar}".rstrip(), highlight=False)
