"""What a search for a budget came to, in words: in its log and on the page alike.

`search/choice.json`; without a budget it holds nothing but `shares`, those of `prune.ratio`.

    {
      "budget": {"latency_p95_ms": 8.0, "size_mb": null, "max_drop": 0.02, "trials": 12, "epochs": 3},
      "rule": "of what meets all limits …",
      "shares": {"pico": 0.3},                      what `prune` removes of each student
      "chosen": Entry, "meets_budget": false,
      "students": {"pico": Entry},                  each one's own best
      "exceeded": [Exceeded, …],                    the limits that the chosen one misses
      "reference": 0.61,                            headline on val of the best distilled student, unpruned
      "unpruned": {"pico": 0.61},
      "trials": [Entry and "trained", …],           in their order
      "trainings": 5, "untried": 0,                 combinations that more trainings could have tried
      "costs": [Entry, …],                          every combination
      "benchmark": {"cpu", "threads", "cores", "runs"}
    }
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

from alambique.errors import DataError
from alambique.files import read_json
from alambique.layout import CHOICE
from alambique.report.figures import number, points, signed

UNITS = {"latency_p95_ms": "ms", "size_mb": "MB", "max_drop": "of {label}"}
"""Of a budget's limits; `label` is the headline's."""


class Entry(TypedDict):
    """A combination; see `alambique.stages.search.budget_choice`.

    Attributes:
        candidate: student-runtime-precision.
        share: of `prune.target` that is removed.
        latency_p50_ms, latency_p95_ms, size_mb: of its artifact.
        accuracy, drop: the headline on val, after a short recovery, and how far below the reference it is; null where
            it was not tried.
        exceeds: names of the limits that it is known to exceed.
    """

    candidate: str
    student: str
    share: float
    runtime: str
    precision: str
    latency_p50_ms: float
    latency_p95_ms: float
    size_mb: float
    accuracy: float | None
    drop: float | None
    exceeds: list[str]


class Exceeded(TypedDict):
    """A limit that is out of reach.

    Attributes:
        allowed, value, by: the limit, the chosen combination's figure, and the difference, in the limit's unit.
        least: of any combination.
    """

    limit: str
    allowed: float
    value: float
    by: float
    least: float


def read(project: Path) -> dict[str, Any]:
    """The project's choice.json.

    Raises:
        DataError: it is not there.
    """
    if not (project / CHOICE).is_file():
        raise DataError(f"{CHOICE} is missing: the search stage has not chosen a share; run `dvc repro search`")
    content: dict[str, Any] = read_json(project / CHOICE)
    return content


def verdict(choice: Mapping[str, Any], label: str) -> list[str]:
    """Sentences: what was chosen, whether it meets the budget, and what is out of reach by how much.

    Args:
        choice: the content of choice.json, of a search.
        label: the headline's.
    """
    chosen = name(choice["chosen"])
    tried = f"{_count(len(choice['trials']), 'trial')}, {_count(choice['trainings'], 'training')}"
    if choice["meets_budget"]:
        lines = [f"{chosen} meets the budget: {figures(choice['chosen'], label)} ({tried})."]
    else:
        lines = [
            f"Nothing measured meets the budget. Nearest is {chosen}: {figures(choice['chosen'], label)} ({tried})."
        ]
        lines += [_exceeded(each, label) for each in choice["exceeded"]]
    if choice["untried"]:
        untried = _count(choice["untried"], "more combination")
        lines.append(f"{untried} could be tried with more than {_count(choice['budget']['trials'], 'training')}.")
    return lines


def name(entry: Entry) -> str:
    """pico-onnx-int8 with 30 % pruned."""
    return f"{entry['candidate']} with {100 * entry['share']:.0f} % pruned"


def figures(entry: Entry, label: str) -> str:
    """Latency, size and, where it was measured, accuracy."""
    words = f"{number(entry['latency_p95_ms'])} ms (p95), {number(entry['size_mb'])} MB"
    if entry["drop"] is None:
        return f"{words}, not trained"
    return f"{words}, {label} {points(entry['accuracy'])} on val, {signed(-entry['drop'])} against the best unpruned"


def limits(budget: Mapping[str, Any]) -> str:
    """latency_p95_ms at most 8, max_drop at most 0.02."""
    asked: Sequence[str] = [each for each in UNITS if budget[each] is not None]
    return ", ".join(f"{each} at most {budget[each]:g}" for each in asked)


def _exceeded(each: Exceeded, label: str) -> str:
    unit = UNITS[each["limit"]].format(label=label)
    value, by, least = (f"{each[key]:.3g}" for key in ("value", "by", "least"))
    words = f"{each['limit']} {each['allowed']:g} is out of reach by {by} {unit}: the nearest has {value}"
    return f"{words}." if value == least else f"{words}; the least of all is {least}."


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
