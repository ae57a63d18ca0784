"""What a device gets: how each artifact does where it is used, beside the checkpoint that it was made from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from alambique.report.leaderboard import Row


class Artifact(NamedTuple):
    """A row of the page's table.

    Attributes:
        row: of a candidate, a champion, or the checkpoint of candidates.
        weakest: the class of the lowest recall, and that recall; None where none is known.
    """

    row: Row
    weakest: tuple[str, float] | None


def artifacts(rows: Iterable[Row]) -> list[Artifact]:
    """What is deployed or could be, each student's checkpoint first, in the order of the leaderboard."""
    kinds = {"pruned", "candidate", "champion"}
    return [Artifact(row, weakest(row["recall"])) for row in rows if row["kind"] in kinds and row["present"]]


def weakest(recall: Mapping[str, float | None]) -> tuple[str, float] | None:
    """The class of which the smallest share is found; the first of several."""
    known = [(name, value) for name, value in recall.items() if value is not None]
    return min(known, key=lambda entry: entry[1], default=None)
