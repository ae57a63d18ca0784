"""The result of the search for a budget: the format of search/choice.json, and sentences for log and page.

`search/choice.json`; without a budget it has only `shares`, each `prune.ratio`.

    {
      "budget": {"latency_p95_ms": 8.0, "size_mb": null, "max_drop": 0.02, "trials": 12, "steps": 300},
      "rule": "of what meets all limits …",
      "shares": {"pico": 0.3},                      the pruning ratio of each student
      "chosen": Entry, "meets_budget": false,
      "students": {"pico": Entry},                  the best of each student
      "exceeded": [Exceeded, …],                    the limits that the chosen one exceeds
      "reference": 0.61,                            headline on val of the best distilled student, unpruned
      "unpruned": {"pico": 0.61},
      "trials": [Entry and "trained", …],           in their order
      "trainings": 5, "untried": 0,                 combinations that could be tried with more trainings
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
"""Units of a budget's limits; `label` is the headline's."""


class Entry(TypedDict):
    """A combination; see `alambique.stages.search.budget_choice`.

    Attributes:
        candidate: student-runtime-precision.
        share: pruning ratio, of `prune.target`.
        latency_p50_ms, latency_p95_ms, size_mb: of its artifact.
        accuracy, drop: the headline on val after a short recovery, and its difference from the reference; null if it
            was not trained.
        exceeds: names of the limits that it exceeds, as far as measured.
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
    """A limit that the chosen combination exceeds.

    Attributes:
        allowed, value, by: the limit, the chosen combination's figure, and the difference, in the limit's unit.
        least: smallest figure of any combination.
    """

    limit: str
    allowed: float
    value: float
    by: float
    least: float


def read(project: Path) -> dict[str, Any]:
    """The project's choice.json; a DataError if it is not there."""
    if not (project / CHOICE).is_file():
        raise DataError(f"{CHOICE} is missing: the search stage has not chosen a share; run `dvc repro search`")
    content: dict[str, Any] = read_json(project / CHOICE)
    return content


def verdict(choice: Mapping[str, Any], label: str) -> list[str]:
    """Sentences: which combination choice.json names, whether it meets the budget, by how much it exceeds a limit."""
    chosen = name(choice["chosen"])
    tried = f"{_count(len(choice['trials']), 'trial')}, {_count(choice['trainings'], 'training')}"
    if choice["meets_budget"]:
        lines = [f"{chosen} meets the budget: {figures(choice['chosen'], label)} ({tried})."]
    else:
        lines = [
            f"Nothing measured meets the budget. Nearest is {chosen}: {figures(choice['chosen'], label)} ({tried})."
        ]
        lines += [_exceeded(limit, label) for limit in choice["exceeded"]]
    if choice["untried"]:
        untried = _count(choice["untried"], "more combination")
        lines.append(f"{untried} could be tried with more than {_count(choice['budget']['trials'], 'training')}.")
    return lines


def name(entry: Entry) -> str:
    """pico-onnx-int8 with 30 % pruned."""
    return f"{entry['candidate']} with {100 * entry['share']:.0f} % pruned"


def figures(entry: Entry, label: str) -> str:
    """Latency, size and, if it was measured, accuracy."""
    words = f"{number(entry['latency_p95_ms'])} ms (p95), {number(entry['size_mb'])} MB"
    if entry["drop"] is None:
        return f"{words}, not trained"
    return f"{words}, {label} {points(entry['accuracy'])} on val, {signed(-entry['drop'])} against the best unpruned"


def limits(budget: Mapping[str, Any]) -> str:
    """latency_p95_ms at most 8, max_drop at most 0.02."""
    names: Sequence[str] = [name for name in UNITS if budget[name] is not None]
    return ", ".join(f"{name} at most {budget[name]:g}" for name in names)


def _exceeded(limit: Exceeded, label: str) -> str:
    unit = UNITS[limit["limit"]].format(label=label)
    value, by, least = (f"{limit[key]:.3g}" for key in ("value", "by", "least"))
    message = f"{limit['limit']} {limit['allowed']:g} is out of reach by {by} {unit}: the nearest has {value}"
    return f"{message}." if value == least else f"{message}; the smallest of all is {least}."


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
