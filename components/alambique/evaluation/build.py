"""Build the leaderboard from the metrics files of a run."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from operator import le
from typing import Any, cast, get_args, get_type_hints

import numpy as np

from alambique.config.gate_config import Reference
from alambique.config.params import Params
from alambique.evaluation.leaderboard import (
    SCHEMA,
    THROUGHPUT,
    Delta,
    Gain,
    GainPart,
    Leaderboard,
    Measure,
    Parity,
    ProductionFigures,
    Row,
    rank,
    reference,
)
from alambique.evaluation.measures import Interval
from alambique.evaluation.measures import Measure as TaskMeasure
from alambique.evaluation.paired_bootstrap import LEVEL, RESAMPLES, SEED
from alambique.layout import Candidate, EvaluationTarget, evaluation_targets


def leaderboard(
    params: Params,
    *,
    headline: str,
    samples: str,
    measures: Mapping[str, TaskMeasure],
    by_class: Mapping[str, TaskMeasure],
    data: str,
    classes: Sequence[str],
    evaluations: Mapping[str, Mapping[str, Any]],
    gains: Mapping[str, Interval | None],
    parts: Mapping[str, Mapping[str, Interval | None]],
    advantages: Mapping[str, Mapping[str, Interval | None]],
    intervals: Mapping[tuple[str, str], Interval],
    benchmark: Mapping[str, Any],
    agreements: Mapping[tuple[str, str], float | None],
) -> Leaderboard:
    """One table of all evaluation targets; see `Leaderboard`.

    Args:
        headline, samples, measures, by_class: the task's, see `alambique.tasks.Task`.
        data: digest of today's test split.
        classes: names in index order.
        evaluations: content of metrics/evaluate/<name>.json, by the evaluation target's name.
        gains: of distilled over control, by student; None where it is unknown.
        parts: of that, by student and what each is due to.
        advantages: of each teacher over control, by student and the teacher's name as an evaluation target.
        intervals: of the first target's headline minus the second's, for all pairs where it is known.
        benchmark: content of metrics/benchmark.json.
        agreements: of each target with each teacher on unlabelled production images.
    Raises:
        KeyError: an evaluation target has no metrics, or a student no gain.
    """
    rows = {
        target.name: _row(
            target, evaluations[target.name], benchmark["latencies"].get(target.name, {}), measures, by_class
        )
        for target in evaluation_targets(
            params.teachers, params.students, params.seeds, params.runtimes, params.int8, params.ablations
        )
    }
    times = {name: measured["times_ms"] for name, measured in benchmark["latencies"].items()}
    for row in rows.values():
        _compare(row, rows.values(), headline, intervals, times)
        if THROUGHPUT in measures and row["latency_p50_ms"]:
            row["metrics"][THROUGHPUT] = 1000 / row["latency_p50_ms"]
    teacher = rank((row for row in rows.values() if row["kind"] == "teacher"), "accuracy", headline)[0]
    ranked = rank((row for row in rows.values() if row["kind"] == "candidate"), params.promotion.objective, headline)
    for row in rows.values():
        if row["field"]:
            row["field"]["agreement"] = agreements.get((row["subject"], teacher["subject"]))
    return {
        "schema": SCHEMA,
        "project": params.project,
        "task": params.task,
        "samples": samples,
        "headline": headline,
        "measures": {name: cast("Measure", measure._asdict()) for name, measure in measures.items()},
        "by_class": {name: cast("Measure", measure._asdict()) for name, measure in by_class.items()},
        "objective": params.promotion.objective,
        "students": list(params.students),
        "seeds": list(params.seeds),
        "runtimes": list(params.runtimes),
        "data": data,
        "classes": list(classes),
        "images": evaluations[teacher["subject"]].get("images"),
        "input_size": params.input_size,
        "benchmark": {key: benchmark.get(key) for key in ("cpu", "device", "threads", "runs")},
        "best": ranked[0]["subject"] if ranked and ranked[0]["metrics"][headline] is not None else None,
        "teacher": teacher["subject"],
        "distillation_gain": {student: _gain(gains[student]) for student in params.students},
        "gain_parts": {student: _parts(parts[student]) for student in params.students},
        "teacher_advantage": {
            student: {name: _gain(advantage) for name, advantage in advantages[student].items()}
            for student in params.students
        },
        "still_improving": {},
        "pareto": {
            runtime: pareto_front((row for row in rows.values() if row["runtime"] == runtime), headline)
            for runtime in params.runtimes
        },
        "rows": list(rows.values()),
    }


def _row(
    target: EvaluationTarget,
    metrics: Mapping[str, Any],
    latency: Mapping[str, Any],
    measures: Iterable[str],
    by_class: Iterable[str],
) -> Row:
    candidate = Candidate.parse(metrics["candidate"]) if "candidate" in metrics else None
    size = _number(metrics.get("size_bytes"))
    return {
        "subject": target.name,
        "kind": target.kind,
        "student": candidate.student if candidate else target.student,
        "runtime": target.runtime,
        "precision": candidate.precision if candidate else target.precision,
        "seed": target.seed,
        "present": bool(metrics.get("present", False)),
        "metrics": numbers({name: metrics.get(name) for name in measures}),
        "by_class": {name: numbers(metrics.get(name)) for name in by_class},
        "parity": _parity(metrics.get("parity")),
        "field": _production(metrics.get("field")),
        "latency_p50_ms": _number(latency.get("p50_ms")),
        "latency_p95_ms": _number(latency.get("p95_ms")),
        "latency_p99_ms": _number(latency.get("p99_ms")),
        "cold_start_ms": _number(latency.get("cold_start_ms")),
        "peak_memory_mb": _number(latency.get("peak_memory_mb")),
        "size_mb": None if size is None else size / 1e6,
        "parameters": metrics.get("parameters"),
        "macs": metrics.get("macs"),
        "data": metrics.get("data"),
        "digest": metrics.get("digest") or metrics.get("sha256"),
        "deltas": {},
        "latency_deltas": {},
    }


def _compare(
    row: Row,
    rows: Collection[Row],
    headline: str,
    intervals: Mapping[tuple[str, str], Interval],
    times: Mapping[str, Sequence[float]],
) -> None:
    """Fill in a row's deltas, and parameters and MACs, which only its checkpoint's card holds."""
    references = {name: reference(name, row, rows, headline) for name in get_args(Reference)}
    row["deltas"], row["latency_deltas"] = dict.fromkeys(references), dict.fromkeys(references)
    for name, other in references.items():
        if other is None or other is row:
            continue
        pair = (row["subject"], other["subject"])
        if pair in intervals:
            value, low, high, _, images = intervals[pair]
            row["deltas"][name] = {"value": value, "low": low, "high": high, "n": images}
        if times.keys() >= set(pair):
            row["latency_deltas"][name] = latency_difference(times[pair[0]], times[pair[1]])
    if row["kind"] == "candidate" and (checkpoint := references["checkpoint"]):
        row["parameters"] = checkpoint["parameters"] if row["parameters"] is None else row["parameters"]
        row["macs"] = checkpoint["macs"] if row["macs"] is None else row["macs"]


def latency_difference(first: Sequence[float], second: Sequence[float]) -> Delta:
    """Median of `first` minus that of `second`, with its percentile interval: a bootstrap paired over rounds.

    Every round of the benchmark times each artifact once, so that a slow phase of the machine affects all of them and
    cancels out in the difference of two that are resampled together.

    Args:
        first, second: milliseconds, those of a round at the same place.
    """
    times = np.array([first, second])  # (2, rounds)
    rounds = times.shape[1]
    drawn = np.random.default_rng(SEED).integers(rounds, size=(RESAMPLES, rounds))
    medians = np.median(times[:, drawn], axis=2)  # (2, resamples)
    low, high = np.quantile(medians[0] - medians[1], [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    value = float(np.median(times[0]) - np.median(times[1]))
    return {"value": value, "low": float(low), "high": float(high), "n": rounds}


def pareto_front(rows: Iterable[Row], headline: str) -> list[str]:
    """Names of the rows that no other row dominates: as good in headline, median latency and size, and better in one.

    A row that lacks one of these figures is left out.
    """
    costs: dict[str, tuple[float, float, float]] = {}  # each better when lower
    for row in rows:
        accuracy, latency, size = row["metrics"][headline], row["latency_p50_ms"], row["size_mb"]
        if accuracy is not None and latency is not None and size is not None:
            costs[row["subject"]] = (-accuracy, latency, size)
    return [
        target
        for target, cost in costs.items()
        if not any(other != cost and all(map(le, other, cost)) for other in costs.values())
    ]


def _gain(interval: Interval | None) -> Gain | None:
    return None if interval is None else cast("Gain", interval._asdict())


def _parts(intervals: Mapping[str, Interval | None]) -> list[GainPart]:
    known = [cast("GainPart", {"of": name, **part._asdict()}) for name, part in intervals.items() if part]
    return known if len(known) == len(intervals) else []


def _parity(figures: Mapping[str, Any] | None) -> Parity | None:
    if figures is None:
        return None
    return cast("Parity", {name: _number(figures[name]) for name in get_type_hints(Parity)})


def _production(figures: Mapping[str, Any] | None) -> ProductionFigures | None:
    if figures is None:
        return None
    return {
        "images": figures["images"],
        "threshold": figures["threshold"],
        "boxes": figures["boxes"],
        "confidence": _number(figures["confidence"]),
        "empty": figures["empty"],
        "agreement": None,
    }


def numbers(by_name: Mapping[str, Any] | None) -> dict[str, float | None]:
    """The same mapping with None for what is not a finite number."""
    return {name: _number(value) for name, value in (by_name or {}).items()}


def _number(value: Any) -> float | None:
    return value if isinstance(value, int | float) and math.isfinite(value) else None
