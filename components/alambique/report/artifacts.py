"""What a device gets: how each artifact does where it is used, beside the checkpoint that it was made from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from alambique.evaluation.leaderboard import Row


class Artifact(NamedTuple):
    """A row of the page's table.

    Attributes:
        row: of a candidate, a champion, or the checkpoint of candidates.
        weakest: the class of the lowest figure by class, and that figure; None where none is known.
    """

    row: Row
    weakest: tuple[str, float] | None


def artifacts(rows: Iterable[Row], by_class: str | None) -> list[Artifact]:
    """What is deployed or could be, each student's checkpoint first, in the order of the leaderboard.

    Args:
        by_class: the measure whose lowest class is wanted; None if there is none.
    """
    kinds = {"pruned", "candidate", "champion"}
    there = [row for row in rows if row["kind"] in kinds and row["present"]]
    return [Artifact(row, weakest(row["by_class"].get(by_class or "", {}))) for row in there]


def weakest(figures: Mapping[str, float | None]) -> tuple[str, float] | None:
    """The class of the lowest figure; the first of several."""
    known = [(name, value) for name, value in figures.items() if value is not None]
    return min(known, key=lambda entry: entry[1], default=None)
