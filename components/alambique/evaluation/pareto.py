"""Which artifacts of a runtime are worth having: another is better in one figure, and worse in another."""

from __future__ import annotations

from collections.abc import Iterable

from alambique.evaluation.leaderboard import Row


def front(rows: Iterable[Row], headline: str) -> list[str]:
    """Subjects that no other row beats: as good in the headline, median latency and size, and better in one of them.

    A row without one of these figures cannot be placed, and is left out.
    """
    costs = {row["subject"]: cost for row in rows if (cost := _cost(row, headline)) is not None}
    return [subject for subject, cost in costs.items() if not any(_dominates(other, cost) for other in costs.values())]


def _cost(row: Row, headline: str) -> tuple[float, float, float] | None:
    """What is better the lower it is."""
    accuracy, latency, size = row["metrics"][headline], row["latency_p50_ms"], row["size_mb"]
    return None if accuracy is None or latency is None or size is None else (-accuracy, latency, size)


def _dominates(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one != other and all(mine <= theirs for mine, theirs in zip(one, other, strict=True))
