"""The report's section on artifacts: measured on their runtime, beside the checkpoint they were exported from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from alambique.evaluation.leaderboard import Row


class Artifact(NamedTuple):
    """A row of the page's table.

    Attributes:
        row: of a candidate, a champion, or the checkpoint of candidates.
        weakest: the class with the lowest figure, and that figure; None if none is known.
    """

    row: Row
    weakest: tuple[str, float] | None


def artifacts(rows: Iterable[Row], by_class: str | None) -> list[Artifact]:
    """Candidates, champions and their checkpoints, in the order of the leaderboard.

    Args:
        by_class: the measure to find the weakest class by; None if there is none.
    """
    kinds = {"pruned", "candidate", "champion"}
    present = [row for row in rows if row["kind"] in kinds and row["present"]]
    return [Artifact(row, weakest(row["by_class"].get(by_class or "", {}))) for row in present]


def weakest(figures: Mapping[str, float | None]) -> tuple[str, float] | None:
    """The class with the lowest figure, the first of several, and the figure; None if none is known."""
    known = [(name, value) for name, value in figures.items() if value is not None]
    return min(known, key=lambda entry: entry[1], default=None)
