"""`report/leaderboard.json`: every subject of a run in one table. Gates read this file and nothing else.

    {
      "schema": 4,
      "project": "cells",
      "objective": "accuracy",
      "students": ["pico"],
      "seeds": [0, 1],                              the first one's student goes on to be pruned and exported
      "runtimes": ["onnx", "openvino"],
      "data": "<digest of today's test split>",
      "classes": ["red", "white"],                  in index order
      "images": 64,                                 test images
      "image_size": 320,
      "benchmark": {"cpu", "device", "threads", "runs"},
      "best": "pico-openvino-int8",                 by the objective, before any gate; null if none was measured
      "teacher": "teacher-main",                    the most accurate one
      "distillation_gain": {"pico": Gain},          mAP50-95 of distilled − control; null where one is unknown
      "pareto": {"onnx": ["pico-onnx-int8"]},       subjects of each runtime that no other beats; see `report.pareto`
      "rows": [Row, ...]                            teachers, then student by student, then champions
    }

A metric that is missing or not a number is null in a row, never absent: a gate rejects what it cannot judge.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, TypedDict

from alambique.config.gates import Reference
from alambique.errors import DataError, IntegrityError
from alambique.files import read_json

SCHEMA = 4
CHECKPOINTS = {"candidate": "pruned", "pruned": "distilled"}
"""The kind of the checkpoint that a subject of this kind was made from."""


class Gain(TypedDict):
    """mAP50-95 of distilled − control with its 95 % interval; see `alambique.tasks.Interval`."""

    value: float
    low: float
    high: float
    seeds: int
    images: int


class Delta(TypedDict):
    """A row's figure minus its reference's, and the 95 % interval of that difference.

    Attributes:
        n: test images, or rounds of the benchmark, which it was computed from.
    """

    value: float
    low: float
    high: float
    n: int


class Parity(TypedDict):
    """How far an artifact answers as the checkpoint it was made from; see `alambique.tasks.detect.parity`."""

    images: int
    max_score_difference: float | None
    max_box_difference: float | None
    agreement: float | None


class Field(TypedDict):
    """What a subject finds in images from the field, which have no labels; see `alambique.tasks.detect.field`.

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
    """One subject.

    Attributes:
        kind: teacher, control, distilled, pruned, candidate or champion.
        student, runtime, precision: null where the kind has none (a teacher has no student, a checkpoint no runtime).
            Of a champion, student and precision are those of the candidate it once was.
        seed: that the control or the distilled student was trained with; null for the others.
        present: false for the champion of a runtime that has none yet; every metric is then null.
        map50_95, map50: mean average precision over classes, 0..1.
        ap: the same at IoU 0.50:0.95, by class name.
        f1, recall: at the deployment threshold (`evaluate.threshold`) and IoU 0.50; recall by class name.
        ece, confidence: expected calibration error, and the mean score of the right detections, both at IoU 0.50.
        parity: of a candidate with its checkpoint; null for the others.
        field: null where production never drifted.
        latency_p50_ms, latency_p95_ms, latency_p99_ms: one image, on its own runtime; null for teachers and
            checkpoints, as are the two that follow.
        cold_start_ms: from the beginning of loading to the first answer, in a fresh process.
        peak_memory_mb: 10⁶ bytes which that added to the process at most.
        size_mb: 10⁶ bytes of weights.pt, or of all the artifact's files.
        parameters, macs: of the network.
        data: digest of the test split it was evaluated on.
        digest: of what was measured: sha256 of weights.pt, or of the artifact's folder as its card says.
        deltas: map50_95 minus that of each `reference`; null where there is none, or not both were evaluated on today's
            test split.
        latency_deltas: latency_p50_ms minus that of each `reference`; null where not both were timed.
    """

    subject: str
    kind: str
    student: str | None
    runtime: str | None
    precision: str | None
    seed: int | None
    present: bool
    map50_95: float | None
    map50: float | None
    ap: dict[str, float | None]
    f1: float | None
    recall: dict[str, float | None]
    ece: float | None
    confidence: float | None
    parity: Parity | None
    field: Field | None
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
    objective: str
    students: list[str]
    seeds: list[int]
    runtimes: list[str]
    data: str
    classes: list[str]
    images: int | None
    image_size: int
    benchmark: dict[str, Any]
    best: str | None
    teacher: str
    distillation_gain: dict[str, Gain | None]
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
    if board["schema"] != SCHEMA:
        raise IntegrityError(
            f"{path} has schema {board['schema']}, and this version reads {SCHEMA}; run `dvc repro --force compare`"
        )
    return board


def estimate(delta: Delta | None) -> float | None:
    """A difference without its interval; None where it is unknown."""
    return None if delta is None else delta["value"]


def reference(name: Reference, row: Row, rows: Collection[Row]) -> Row | None:
    """What a delta or a gate compares a row with; None where there is nothing of the sort.

    Args:
        name: teacher: the most accurate one. champion: that of the row's runtime. control: of the row's own seed, or of
            the first seed, whose student is the one deployed. checkpoint: what the row was made from: of a candidate
            the pruned one, of the pruned the first seed's distilled one. distilled: of all students' distilled ones of
            the first seed the most accurate.
        row: whose reference is wanted.
        rows: all of the leaderboard, in its order.
    """
    match name:
        case "teacher":
            found = rank((each for each in rows if each["kind"] == "teacher"), "accuracy")
        case "champion":
            found = [each for each in rows if each["kind"] == "champion" and each["runtime"] == row["runtime"]]
        case "distilled":
            found = [each for each in rows if each["kind"] == "distilled"]
            found = rank((each for each in found if each["seed"] == found[0]["seed"]), "accuracy")
        case "control" | "checkpoint":
            kind = "control" if name == "control" else CHECKPOINTS.get(row["kind"])
            found = [each for each in rows if each["kind"] == kind and each["student"] == row["student"]]
            found = [each for each in found if row["seed"] in {None, each["seed"]}]
    return found[0] if found else None


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
