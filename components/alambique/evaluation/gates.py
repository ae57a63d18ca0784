"""Gates: each compares a candidate's row of the leaderboard with a bound, and gives a verdict with a named reason.

To add a gate: its parameters are a class in `config.gate_config`, its verdict a function here, which `_judge` calls.
A figure that is missing or not finite is a refusal, never a pass.

Reasons
    passed, first_model (there is no champion yet)
    below_floor, above_ceiling, class_below_floor
    worse_than_champion, worse_than_teacher, worse_than_control, worse_than_checkpoint, worse_than_distilled
    teacher_not_better (than the control, by its whole confidence interval)
    uncertain_against_<one of them> (not worse itself, but its confidence interval exceeds `limit`)
    not_evaluated (no row), other_artifact (the row was measured on other bytes than were registered)
    missing_metric (no such column), not_finite (null, NaN, ±inf, or no number at all)
    missing_reference, missing_interval
    other_evaluation_data (not today's test split, or not that of the reference)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import ceil, isfinite
from typing import Any, NamedTuple

from alambique.config.gate_config import AtLeast, AtMost, EachClass, Gate, NotWorseThan, TeacherBetterThan
from alambique.config.params import Budget, Params
from alambique.evaluation import leaderboard
from alambique.evaluation.leaderboard import Delta, Leaderboard, Row
from alambique.messages import Check

LOWER_IS_BETTER = {
    *("latency_p50_ms", "latency_p95_ms", "latency_p99_ms", "cold_start_ms", "peak_memory_mb"),
    *("size_mb", "parameters", "macs", "parity.max_score_difference", "parity.max_output_difference"),
}
"""Columns that every task has; for a task's own measures the leaderboard's `measures` say it."""


class CandidateVerdict(NamedTuple):
    """All gates' verdicts on a candidate; it passes if each gate passes."""

    candidate: str
    checks: list[Check]

    @property
    def passed(self) -> bool:
        return all(check.passed for check in self.checks)


def configured(params: Params) -> tuple[Gate, ...]:
    """The gates of params.yaml and those of its budget, which applies even if the search could not meet it."""
    return (*params.gates, *of_budget(params.budget, params.HEADLINE))


def of_budget(budget: Budget, headline: str) -> Iterator[Gate]:
    """A gate for each limit of the budget that is set; `headline` is the measure of `max_drop`."""
    if budget.latency_p95_ms is not None:
        yield AtMost(kind="at_most", metric="latency_p95_ms", value=budget.latency_p95_ms)
    if budget.size_mb is not None:
        yield AtMost(kind="at_most", metric="size_mb", value=budget.size_mb)
    if budget.max_drop is not None:
        yield NotWorseThan(kind="not_worse_than", metric=headline, reference="distilled", margin=budget.max_drop)


def judge_all(board: Leaderboard, gates: Sequence[Gate]) -> list[CandidateVerdict]:
    """The verdicts on every candidate of the leaderboard, registered or not."""
    names = [row["subject"] for row in board["rows"] if row["kind"] == "candidate"]
    return [judge_candidate(name, board, gates) for name in names]


def judge_candidate(
    name: str, board: Leaderboard, gates: Sequence[Gate], sha256: str | None = None
) -> CandidateVerdict:
    """Whether the row was measured on artifact `sha256` (None: any) and today's test split, and one verdict a gate."""
    row = next((row for row in board["rows"] if row["subject"] == name), None)
    if row is None:
        return CandidateVerdict(name, [_refused("evaluated", "not_evaluated", f"the leaderboard has no row {name}")])
    return CandidateVerdict(name, [_identity(row, board, sha256), *judge(row, board, gates)])


def judge(row: Row, board: Leaderboard, gates: Sequence[Gate]) -> list[Check]:
    """One verdict a gate."""
    return [_judge(gate, row, board) for gate in gates]


def _judge(gate: Gate, row: Row, board: Leaderboard) -> Check:
    match gate:
        case NotWorseThan():
            return _compare(gate, row, board)
        case EachClass():
            return _each_class(gate, row, board)
        case TeacherBetterThan():
            return _compare_teacher(gate, row, board)
    return _limit(gate, row, board)


def _identity(row: Row, board: Leaderboard, sha256: str | None) -> Check:
    """Whether the row was measured on this artifact and on today's test split."""
    if sha256 is not None and row["digest"] != sha256:
        words = f"registered was {sha256[:12]}, measured {str(row['digest'])[:12]}"
        return _refused("evaluated", "other_artifact", words)
    if not row["data"] or row["data"] != board["data"]:
        words = f"measured on test split {str(row['data'])[:12]}, and today's is {board['data'][:12]}"
        return _refused("evaluated", "other_evaluation_data", words)
    return Check(gate="evaluated", passed=True, reason="passed", n=board["images"])


def _limit(gate: AtLeast | AtMost, row: Row, board: Leaderboard) -> Check:
    name = f"{gate.metric} {gate.kind.replace('_', ' ')} {gate.value:g}"
    value, refusal = _number(_figures(row), gate.metric)
    if value is None:
        return _refused(name, refusal, _unknown(refusal, gate.metric), bound=gate.value)
    evidence = {"value": value, "bound": gate.value, "n": _samples(gate.metric, board)}
    if isinstance(gate, AtLeast) and value < gate.value:
        return _refused(name, "below_floor", f"{value:.4g} is less than {gate.value:g}", **evidence)
    if isinstance(gate, AtMost) and value > gate.value:
        return _refused(name, "above_ceiling", f"{value:.4g} is more than {gate.value:g}", **evidence)
    return _passed(name, **evidence)


def _each_class(gate: EachClass, row: Row, board: Leaderboard) -> Check:
    """The value is the lowest class's figure; the explanation names every class below the floor."""
    name = f"{gate.metric} of each class at least {gate.value:g}"
    known = row["by_class"].get(gate.metric) or {}
    figures = {class_name: _entry(known, class_name) for class_name in board["classes"]}
    for class_name, (value, refusal) in figures.items():
        if value is None:
            return _refused(name, refusal, _unknown(refusal, f"{gate.metric} of {class_name}"), bound=gate.value)
    values = {class_name: value for class_name, (value, _) in figures.items() if value is not None}
    evidence = {"value": min(values.values()), "bound": gate.value, "n": board["images"]}
    if low := [f"{class_name} {value:.3g}" for class_name, value in values.items() if value < gate.value]:
        return _refused(name, "class_below_floor", f"less than {gate.value:g}: {', '.join(low)}", **evidence)
    return _passed(name, **evidence)


def _compare(gate: NotWorseThan, row: Row, board: Leaderboard) -> Check:
    name = f"{gate.metric} not worse than {gate.reference}"
    value, refusal = _number(_figures(row), gate.metric)
    if value is None:
        return _refused(name, refusal, _unknown(refusal, gate.metric))
    reference = leaderboard.reference(gate.reference, row, board["rows"], board["headline"])
    if gate.reference == "champion" and reference is not None and not reference["present"]:
        words = "there is no champion yet"
        return Check(gate=name, passed=True, reason="first_model", explanation=words, value=value)
    present = reference is not None and reference["present"]
    known = _number(_figures(reference), gate.metric)[0] if reference is not None and present else None
    if reference is None or known is None:
        words = f"the leaderboard has no {gate.metric} of its {gate.reference}"
        return _refused(name, "missing_reference", words, value=value)
    if not row["data"] or row["data"] != reference["data"]:
        words = f"{reference['subject']} was measured on another test split"
        return _refused(name, "other_evaluation_data", words, value=value)
    return _compare_figures(gate, row, board, value, known)


def _compare_figures(gate: NotWorseThan, row: Row, board: Leaderboard, value: float, known: float) -> Check:
    """The verdict on two known figures, the candidate's `value` and the reference's."""
    name = f"{gate.metric} not worse than {gate.reference}"
    sign = 1 if _lower_is_better(gate.metric, board) else -1  # of a loss
    bound, delta = known + sign * gate.margin, _delta(gate, row, board)
    evidence: dict[str, Any] = {"value": value, "bound": bound, "n": _samples(gate.metric, board)}
    if delta is not None:
        evidence |= {"low": delta["low"], "high": delta["high"], "n": delta["n"]}
    if sign * (value - bound) > 0:
        whose = "distilled student" if gate.reference == "distilled" else gate.reference
        words = f"{abs(value - known):.3g} worse than the {whose}'s {known:.4g}, {gate.margin:g} allowed"
        return _refused(name, f"worse_than_{gate.reference}", words, **evidence)
    if gate.limit is None:
        return _passed(name, **evidence)
    if delta is None:
        words = f"its difference from the {gate.reference} has no interval"
        return _refused(name, "missing_interval", words, **evidence)
    worst = sign * (delta["high"] if sign > 0 else delta["low"])
    if worst > gate.limit:
        words = _uncertainty(worst, sign * delta["value"], gate, delta["n"], board["samples"])
        return _refused(name, f"uncertain_against_{gate.reference}", words, **evidence)
    return _passed(name, **evidence)


def _compare_teacher(gate: TeacherBetterThan, row: Row, board: Leaderboard) -> Check:
    """Whether the most accurate teacher is better than the control of the candidate's student, mean over the seeds."""
    name, headline = f"teacher better than {gate.reference}", board["headline"]
    teacher = leaderboard.reference("teacher", row, board["rows"], headline)
    controls = [other for other in board["rows"] if (other["kind"], other["student"]) == ("control", row["student"])]
    if teacher is None or not controls:
        return _refused(name, "missing_reference", f"the leaderboard has no teacher, or no control of {row['student']}")
    values = []
    for other in (teacher, *controls):
        value, refusal = _number(_figures(other), headline)
        if value is None:
            return _refused(name, refusal, f"{other['subject']}: {_unknown(refusal, headline)}")
        if not row["data"] or row["data"] != other["data"]:
            return _refused(name, "other_evaluation_data", f"{other['subject']} was measured on another test split")
        values.append(value)
    advantage = board["teacher_advantage"].get(str(row["student"]), {}).get(teacher["subject"])
    if advantage is None or not all(map(isfinite, (advantage["low"], advantage["high"]))):
        return _refused(name, "missing_interval", "the difference between teacher and control has no interval")
    control = sum(values[1:]) / len(controls)
    evidence: dict[str, Any] = {"value": values[0], "bound": control, "n": advantage["images"]}
    evidence |= {"low": advantage["low"], "high": advantage["high"]}
    if advantage["low"] > 0:
        return _passed(name, **evidence)
    words = f"{teacher['subject']} has {values[0]:.4g}, the control {control:.4g}: there is nothing to distill"
    return _refused(name, "teacher_not_better", words, **evidence)


def _uncertainty(worst: float, loss: float, gate: NotWorseThan, n: int, samples: str) -> str:
    """The interval's worst end, and how many samples would narrow it enough: its width falls with their square root.

    Args:
        worst: unfavourable end of the interval of the loss.
        loss: the loss on these samples.
        samples: what they are called, in the plural.
    """
    words = f"may be {worst:.3g} worse, {gate.limit:g} allowed"
    room = (gate.limit or 0.0) - loss
    if room <= 0:
        return f"{words}; no more samples could show it"
    unit = "runs of the benchmark" if gate.metric.startswith("latency_") else f"test {samples}"
    return f"{words}; about {ceil(n * ((worst - loss) / room) ** 2)} {unit} would tell, {n} are there"


def _delta(gate: NotWorseThan, row: Row, board: Leaderboard) -> Delta | None:
    """The difference from the reference with its interval; only the headline and latency_p50_ms have one."""
    if gate.metric == board["headline"]:
        return row["deltas"].get(gate.reference)
    return row["latency_deltas"].get(gate.reference) if gate.metric == "latency_p50_ms" else None


def _lower_is_better(metric: str, board: Leaderboard) -> bool:
    measure = board["measures"].get(metric)
    return measure["lower_is_better"] if measure else metric in LOWER_IS_BETTER


def _figures(row: Row) -> dict[str, Any]:
    """The task's measures by name, and the row's own columns."""
    return {**row, **row["by_class"], **row["metrics"]}


def _number(columns: Mapping[str, Any], metric: str) -> tuple[float | None, str]:
    """The metric's value, or None and the reason why it cannot be judged; `parity.agreement` is inside a column."""
    column, _, key = metric.partition(".")
    inside = columns.get(column)
    if not key or (column in columns and inside is None):
        return _entry(columns, column)
    return _entry(inside if isinstance(inside, Mapping) else {}, key)


def _entry(values: Mapping[str, Any], key: str) -> tuple[float | None, str]:
    if key not in values:
        return None, "missing_metric"
    value = values[key]
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        return None, "not_finite"
    return float(value), "passed"


def _unknown(refusal: str, metric: str) -> str:
    return f"the row has no {metric}" if refusal == "missing_metric" else f"its {metric} is no finite number"


def _samples(metric: str, board: Leaderboard) -> int | None:
    """How many samples or timed runs a metric was estimated from; None where it is no estimate."""
    if metric.startswith("latency_") or metric == leaderboard.THROUGHPUT:
        runs: int | None = board["benchmark"]["runs"]
        return runs
    return board["images"] if metric in board["measures"] else None


def _passed(gate: str, **evidence: Any) -> Check:
    return Check(gate=gate, passed=True, reason="passed", **evidence)


def _refused(gate: str, reason: str, explanation: str, **evidence: Any) -> Check:
    return Check(gate=gate, passed=False, reason=reason, explanation=explanation, **evidence)
