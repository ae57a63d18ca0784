"""`report/leaderboard.json`: every subject of a run in one table. Gates read this file and nothing else.

    {
      "schema": 1,
      "project": "cells",
      "objective": "accuracy",
      "students": ["pico"],
      "runtimes": ["onnx", "openvino"],
      "data": "<digest of today's test split>",
      "classes": ["red", "white"],                  in index order
      "images": 64,                                 test images
      "image_size": 320,
      "benchmark": {"cpu", "device", "threads", "runs"},
      "best": "pico-openvino-int8",                 by the objective, before any gate; null if none was measured
      "distillation_gain": {"pico": 0.012},         mAP50-95 of distilled − control; null where one is unknown
      "rows": [Row, ...]                            teacher, then student by student, then champions
    }

A metric that is missing or not a number is null in a row, never absent: a gate rejects what it cannot judge.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypedDict

from alambique.layout import Candidate, Subject, subjects

SCHEMA = 1


class Row(TypedDict):
    """One subject.

    Attributes:
        kind: teacher, control, distilled, pruned, candidate or champion.
        student, runtime, precision: null where the kind has none (the teacher has no student, a checkpoint no runtime).
            Of a champion, student and precision are those of the candidate it once was.
        present: false for the champion of a runtime that has none yet; every metric is then null.
        map50_95, map50: mean average precision over classes, 0..1.
        ap: the same at IoU 0.50:0.95, by class name.
        latency_p50_ms, latency_p95_ms: one image, on its own runtime; null for the teacher and checkpoints.
        size_mb: 10⁶ bytes of weights.pt, or of all the artifact's files.
        parameters, macs: of the network.
        data: digest of the test split it was evaluated on.
        digest: of what was measured: sha256 of weights.pt, or of the artifact's folder as its card says.
        deltas: map50_95 minus that of each reference of `config.Reference`; null where there is none. The checkpoint of
            a candidate is its student's pruned one, the checkpoint of the pruned is the distilled one.
    """

    subject: str
    kind: str
    student: str | None
    runtime: str | None
    precision: str | None
    present: bool
    map50_95: float | None
    map50: float | None
    ap: dict[str, float | None]
    latency_p50_ms: float | None
    latency_p95_ms: float | None
    size_mb: float | None
    parameters: int | None
    macs: int | None
    data: str | None
    digest: str | None
    deltas: dict[str, float | None]


class Leaderboard(TypedDict):
    """The whole file; see the module's docstring."""

    schema: int
    project: str
    objective: str
    students: list[str]
    runtimes: list[str]
    data: str
    classes: list[str]
    images: int | None
    image_size: int
    benchmark: dict[str, Any]
    best: str | None
    distillation_gain: dict[str, float | None]
    rows: list[Row]


def build(
    *,
    project: str,
    objective: str,
    teachers: Sequence[str],
    students: Sequence[str],
    seeds: Sequence[int],
    runtimes: Sequence[str],
    image_size: int,
    data: str,
    classes: Sequence[str],
    evaluations: Mapping[str, Mapping[str, Any]],
    benchmark: Mapping[str, Any],
) -> Leaderboard:
    """Join what was measured into one table.

    Args:
        data: digest of today's test split.
        classes: names in index order.
        evaluations: content of metrics/evaluate/<subject>.json, by subject.
        benchmark: content of metrics/benchmark.json.
    Raises:
        KeyError: a subject of `students` × `runtimes` has no evaluation.
    """
    rows = {
        subject.name: _row(subject, evaluations[subject.name], benchmark["latencies"].get(subject.name, {}))
        for subject in subjects(teachers, students, seeds, runtimes)
    }
    for row in rows.values():
        _compare(row, rows)
    ranked = rank((row for row in rows.values() if row["kind"] == "candidate"), objective)
    return {
        "schema": SCHEMA,
        "project": project,
        "objective": objective,
        "students": list(students),
        "runtimes": list(runtimes),
        "data": data,
        "classes": list(classes),
        "images": evaluations["teacher"].get("images"),
        "image_size": image_size,
        "benchmark": {key: benchmark.get(key) for key in ("cpu", "device", "threads", "runs")},
        "best": ranked[0]["subject"] if ranked and ranked[0]["map50_95"] is not None else None,
        "distillation_gain": {student: rows[f"{student}-distilled"]["deltas"]["control"] for student in students},
        "rows": list(rows.values()),
    }


def rank(rows: Iterable[Row], objective: str) -> list[Row]:
    """Rows from best to worst by `objective` (accuracy, latency or size), then by the other two, then by name.

    A row without the objective's metric comes last.
    """
    accuracy, latency, size = ("map50_95", -1), ("latency_p50_ms", 1), ("size_mb", 1)
    order = {
        "accuracy": (accuracy, latency, size),
        "latency": (latency, accuracy, size),
        "size": (size, accuracy, latency),
    }[objective]

    def key(row: Row) -> tuple[Any, ...]:
        metrics: Mapping[str, Any] = row
        known = ((metrics[name], sign) for name, sign in order)
        return (*(math.inf if value is None else sign * value for value, sign in known), row["subject"])

    return sorted(rows, key=key)


def _row(subject: Subject, metrics: Mapping[str, Any], latency: Mapping[str, Any]) -> Row:
    was = Candidate.parse(metrics["candidate"]) if "candidate" in metrics else None
    size = _number(metrics.get("size_bytes"))
    return {
        "subject": subject.name,
        "kind": subject.kind,
        "student": was.student if was else subject.student,
        "runtime": subject.runtime,
        "precision": was.precision if was else subject.precision,
        "present": bool(metrics.get("present", False)),
        "map50_95": _number(metrics.get("map50_95")),
        "map50": _number(metrics.get("map50")),
        "ap": {name: _number(value) for name, value in metrics.get("ap", {}).items()},
        "latency_p50_ms": _number(latency.get("p50_ms")),
        "latency_p95_ms": _number(latency.get("p95_ms")),
        "size_mb": None if size is None else size / 1e6,
        "parameters": metrics.get("parameters"),
        "macs": metrics.get("macs"),
        "data": metrics.get("data"),
        "digest": metrics.get("digest") or metrics.get("sha256"),
        "deltas": {},
    }


def _compare(row: Row, rows: Mapping[str, Row]) -> None:
    """Fill in a row's deltas, and what only its checkpoint's card knows of the network."""
    student, checkpoint = row["student"], {"candidate": "pruned", "pruned": "distilled"}.get(row["kind"])
    references = {
        "teacher": rows.get("teacher"),
        "control": rows.get(f"{student}-control"),
        "checkpoint": rows.get(f"{student}-{checkpoint}") if checkpoint else None,
        "champion": rows.get(f"champion-{row['runtime']}"),
    }
    row["deltas"] = {
        name: _difference(row["map50_95"], reference["map50_95"]) if reference and reference is not row else None
        for name, reference in references.items()
    }
    if row["kind"] == "candidate" and (own := references["checkpoint"]):
        row["parameters"] = own["parameters"] if row["parameters"] is None else row["parameters"]
        row["macs"] = own["macs"] if row["macs"] is None else row["macs"]


def _difference(value: float | None, reference: float | None) -> float | None:
    return None if value is None or reference is None else value - reference


def _number(value: Any) -> float | None:
    """`value` if it is a finite number, else None."""
    return value if isinstance(value, int | float) and math.isfinite(value) else None
