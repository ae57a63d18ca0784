"""Pareto front over the headline metric, median latency and size."""

from __future__ import annotations

from collections.abc import Iterable
from operator import le

from alambique.evaluation.leaderboard import Row


def front(rows: Iterable[Row], headline: str) -> list[str]:
    """Names of the rows that no other row dominates: as good in all three figures, and better in one.

    A row that lacks one of these figures is left out.
    """
    costs = {row["subject"]: cost for row in rows if (cost := _cost(row, headline)) is not None}
    return [
        target
        for target, cost in costs.items()
        if not any(other != cost and all(map(le, other, cost)) for other in costs.values())
    ]


def _cost(row: Row, headline: str) -> tuple[float, float, float] | None:
    """Three figures, each better when lower."""
    accuracy, latency, size = row["metrics"][headline], row["latency_p50_ms"], row["size_mb"]
    return None if accuracy is None or latency is None or size is None else (-accuracy, latency, size)
