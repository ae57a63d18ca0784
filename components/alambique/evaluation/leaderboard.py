"""`report/leaderboard.json`: every evaluation target of a run in one table. Gates read only this file.

    {
      "schema": 6,
      "project": "cells",
      "task": "detect",
      "samples": "images",                          what the test split consists of
      "headline": "map50_95",                       the measure to rank by, from 0 to 1, higher is better
      "measures": {"map50_95": Measure},            of the rows' metrics
      "by_class": {"ap": Measure},                  of the rows' figures by class
      "objective": "accuracy",
      "students": ["pico"],
      "seeds": [0, 1],                              the first one's student goes on to be pruned and exported
      "runtimes": ["onnx", "openvino"],
      "data": "<digest of today's test split>",
      "classes": ["red", "white"],                  in index order
      "images": 64,                                 test samples
      "input_size": 320,                            pixels of an image's side, tokens of a text
      "benchmark": {"cpu", "device", "threads", "runs"},
      "best": "pico-openvino-int8",                 by the objective, before any gate; null if none was measured
      "teacher": "teacher-main",                    the most accurate one
      "distillation_gain": {"pico": Gain},          headline of distilled − control; null where one is unknown
      "gain_parts": {"pico": [GainPart]},           whose sum it is, by `ablations`; none where one is unknown
      "teacher_advantage": {"pico": {"teacher-main": Gain}},   headline of each teacher − control, likewise
      "still_improving": {"distill.steps": Ceiling},   trainings that would be better with more steps, by what to raise
      "pareto": {"onnx": ["pico-onnx-int8"]},       of each runtime the front, see `evaluation.build.pareto_front`
      "rows": [Row, ...]                            teachers, then student by student, then champions
    }

A metric that is missing or not a number is null in a row, never absent: a gate refuses a null.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, TypedDict

from alambique.config.gate_config import Reference
from alambique.errors import DataError, IntegrityError
from alambique.files import read_json, reading

SCHEMA = 6
THROUGHPUT = "tokens_per_second"
"""Name of the measure computed from latency where that is of one token."""
CHECKPOINTS = {"candidate": "pruned", "pruned": "distilled"}
"""The kind of the checkpoint that a target of this kind was made from."""


class Measure(TypedDict):
    """How a figure is shown and compared; see `evaluation.measures.Measure`."""

    label: str
    unit: Literal["points", "number"]
    lower_is_better: bool
    shown: bool
    about: str


class Gain(TypedDict):
    """Headline of distilled, or of a teacher, − control with its 95 % interval; see `evaluation.measures.Interval`."""

    value: float
    low: float
    high: float
    seeds: int
    images: int


class GainPart(Gain):
    """One thing's part of the gain, see `evaluation.gain_parts`; `of` is that thing, in the report's words."""

    of: str


class Ceiling(TypedDict):
    """Trainings that ended at a ceiling of steps while val was still improving; see `tasks.intervals`."""

    steps: int
    trainings: list[str]


class Delta(TypedDict):
    """A row's figure minus its reference's, and the 95 % interval of that difference.

    Attributes:
        n: test samples, or rounds of the benchmark, which it was computed from.
    """

    value: float
    low: float
    high: float
    n: int


class Parity(TypedDict):
    """Differences between an artifact's outputs and those of the checkpoint it was exported from, on the same images.

    Attributes:
        max_score_difference, max_output_difference: largest over matched outputs; the latter null without boxes.
        agreement: fraction of matched outputs, 0 to 1.
    """

    samples: int
    max_score_difference: float | None
    max_output_difference: float | None
    agreement: float | None


class ProductionFigures(TypedDict):
    """Predictions on unlabelled production images, which joined the dataset after drift; column "field".

    Attributes:
        agreement: with the most accurate teacher, 0 to 1.
    """

    images: int
    threshold: float
    boxes: float
    confidence: float | None
    empty: float
    agreement: float | None


class Row(TypedDict):
    """One evaluation target.

    Attributes:
        kind: as in `layout.EvaluationTarget`.
        student, runtime, precision: null where the kind has none (a teacher has no student, a checkpoint no runtime).
            A champion has those of the candidate that it was promoted from.
        seed: that a checkpoint of `layout.Seeded` was trained with; null for the others.
        present: false for the champion of a runtime that has none yet; every metric is then null.
        metrics: the board's `measures` by name.
        by_class: those of its `by_class` by name, each by class name; empty where it was not evaluated.
        parity: of a candidate with its checkpoint; null for the others.
        field: figures on production images; null where production never drifted.
        latency_p50_ms, latency_p95_ms, latency_p99_ms: one sample, on its own runtime; null for teachers and
            checkpoints, as are the two that follow.
        cold_start_ms: from the start of loading to the first output, in a new process.
        peak_memory_mb: peak memory that loading and the first inference added, 10⁶ bytes.
        size_mb: 10⁶ bytes of weights.pt, or of all the artifact's files.
        parameters, macs: of the network.
        data: digest of the test split it was evaluated on.
        digest: of what was measured: SHA-256 of weights.pt, or of the artifact's folder as its card says.
        deltas: the headline minus that of each `reference`; null where there is none, or not both were evaluated on
            today's test split.
        latency_deltas: latency_p50_ms minus that of each `reference`; null where not both were timed.
    """

    subject: str
    kind: str
    student: str | None
    runtime: str | None
    precision: str | None
    seed: int | None
    present: bool
    metrics: dict[str, float | None]
    by_class: dict[str, dict[str, float | None]]
    parity: Parity | None
    field: ProductionFigures | None
    latency_p50_ms: float | None
    latency_p95_ms: float | None
    latency_p99_ms: float | None
    cold_start_ms: float | None
    peak_memory_mb: float | None
    size_mb: float | None
    parameters: int | None
    macs: int | None
    data: str | None
    digest: str | None
    deltas: dict[str, Delta | None]
    latency_deltas: dict[str, Delta | None]


class Leaderboard(TypedDict):
    """The whole file; see the module's docstring."""

    schema: int
    project: str
    task: str
    samples: str
    headline: str
    measures: dict[str, Measure]
    by_class: dict[str, Measure]
    objective: str
    students: list[str]
    seeds: list[int]
    runtimes: list[str]
    data: str
    classes: list[str]
    images: int | None
    input_size: int
    benchmark: dict[str, Any]
    best: str | None
    teacher: str
    distillation_gain: dict[str, Gain | None]
    gain_parts: dict[str, list[GainPart]]
    teacher_advantage: dict[str, dict[str, Gain | None]]
    still_improving: dict[str, Ceiling]
    pareto: dict[str, list[str]]
    rows: list[Row]


def load(path: Path) -> Leaderboard:
    """Read a leaderboard.json.

    Raises:
        DataError: it is not there.
        IntegrityError: another version wrote it.
    """
    if not path.is_file():
        raise DataError(f"{path} is missing: nothing has been compared yet; run `dvc repro compare`")
    board: Leaderboard = read_json(path)
    with reading(path):
        schema = board["schema"]
    if schema != SCHEMA:
        raise IntegrityError(
            f"{path} has schema {schema}, and this version reads {SCHEMA}; run `dvc repro --force compare`"
        )
    with reading(path):
        _ = [row["subject"] for row in board["rows"]]
    return board


def timed(board: Leaderboard) -> str:
    """The unit that latency is measured for, in the plural: samples, or tokens of a text."""
    return "tokens" if THROUGHPUT in board["measures"] else board["samples"]


def estimate(delta: Delta | None) -> float | None:
    """A difference without its interval; None where it is unknown."""
    return None if delta is None else delta["value"]


def columns(board: Leaderboard) -> list[str]:
    """The measures that tables have a column for, the headline first."""
    shown = [name for name, measure in board["measures"].items() if measure["shown"]]
    return sorted(shown, key=lambda name: name != board["headline"])


def reference(name: Reference, row: Row, rows: Collection[Row], headline: str) -> Row | None:
    """The row that a delta or a gate compares a row with; None if there is none.

    Args:
        name: teacher: the most accurate one. champion: that of the row's runtime. control: of the row's own seed, or of
            the first seed, whose student is the one deployed. checkpoint: what the row was made from: of a candidate
            the pruned one, of the pruned the first seed's distilled one. distilled: of all students' distilled ones of
            the first seed the most accurate.
        row: whose reference is wanted.
        rows: all of the leaderboard, in its order.
        headline: the measure by which a teacher or a student is the most accurate.
    """
    match name:
        case "teacher":
            matches = rank((other for other in rows if other["kind"] == "teacher"), "accuracy", headline)
        case "champion":
            matches = [other for other in rows if other["kind"] == "champion" and other["runtime"] == row["runtime"]]
        case "distilled":
            distilled = [other for other in rows if other["kind"] == "distilled"]
            first_seed = (other for other in distilled if other["seed"] == distilled[0]["seed"])
            matches = rank(first_seed, "accuracy", headline)
        case "control" | "checkpoint":
            kind = "control" if name == "control" else CHECKPOINTS.get(row["kind"])
            of_student = [other for other in rows if other["kind"] == kind and other["student"] == row["student"]]
            matches = [other for other in of_student if row["seed"] in {None, other["seed"]}]
    return matches[0] if matches else None


def rank(rows: Iterable[Row], objective: str, headline: str) -> list[Row]:
    """Rows from best to worst by `objective` (accuracy, latency or size), then by the other two, then by name.

    The accuracy is the measure `headline`. A row without the objective's metric comes last.
    """
    accuracy, latency, size = (headline, -1), ("latency_p50_ms", 1), ("size_mb", 1)
    order = {
        "accuracy": (accuracy, latency, size),
        "latency": (latency, accuracy, size),
        "size": (size, accuracy, latency),
    }[objective]

    def key(row: Row) -> tuple[Any, ...]:
        metrics: Mapping[str, Any] = {**row, **row["metrics"]}
        known = ((metrics[name], sign) for name, sign in order)
        return (*(math.inf if value is None else sign * value for value, sign in known), row["subject"])

    return sorted(rows, key=key)
