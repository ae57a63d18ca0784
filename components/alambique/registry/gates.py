"""Gates: pure functions over the leaderboard, which refuse by a named reason whatever they cannot judge.

Reasons
    passed, first_model (there is no champion yet)
    below_floor, above_ceiling
    worse_than_champion, worse_than_teacher, worse_than_control, worse_than_checkpoint
    not_evaluated (no row), other_artifact (the row is about other bytes than were registered)
    missing_metric (no such column), not_finite (null, NaN, ±inf, or no number at all), missing_reference
    other_evaluation_data (not today's test split, or not that of the reference)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import isfinite
from typing import Any

from alambique import config
from alambique.config import AtLeast, AtMost, Gate, NotWorseThan
from alambique.errors import IntegrityError
from alambique.files import read_json
from alambique.layout import REPORT
from alambique.messages import Check, Decision, Decisions, GateRequest, Version
from alambique.registry import aliases, terminal
from alambique.registry.checkout import LEADERBOARD, checked_out
from alambique.report import leaderboard
from alambique.report.leaderboard import Leaderboard, Row, rank

LOWER_IS_BETTER = {
    *("latency_p50_ms", "latency_p95_ms", "latency_p99_ms", "cold_start_ms", "peak_memory_mb"),
    *("size_mb", "parameters", "macs", "ece"),
}


def gate(request: GateRequest) -> Decisions:
    """Judge every registered version by the run's own leaderboard and params.yaml, and name the challengers.

    Raises:
        IntegrityError: the run began with a champion which the leaderboard does not know.
        TransientError: MLflow, the origin or the DVC remote is out of reach.
    """
    with checked_out(request, [REPORT]) as project:
        params, board = config.load(project), read_json(project / LEADERBOARD)
    champions = champion_digests(request.versions, board)
    _check_champions(request, champions)
    judged = [decide(version, board, params.gates) for version in request.versions]
    decisions = Decisions(
        run_id=request.run.run_id,
        decisions=judged,
        challengers=challengers(judged, board, params.promotion.objective, champions),
        champions=champions,
    )
    aliases.mark(request.deployment.tracking_uri, decisions)
    terminal.show(decisions)
    return decisions


def _check_champions(request: GateRequest, champions: Mapping[str, str]) -> None:
    """A champion that was not measured must not pass for one that does not exist."""
    models = {version.candidate.split("-")[1]: version.model for version in request.versions}
    for runtime, version in request.run.champions.items():
        if runtime in models and models[runtime] not in champions:
            raise IntegrityError(
                f"run {request.run.run_id} began with version {version} as champion of {models[runtime]}, but its "
                f"leaderboard has no champion-{runtime}; look at inputs/champions/{runtime} and start another run"
            )


def decide(version: Version, board: Leaderboard, gates: Sequence[Gate]) -> Decision:
    """All verdicts on one registered version; it passes when every one is positive."""
    rows = {row["subject"]: row for row in board["rows"]}
    row = rows.get(version.candidate)
    checks = [_identity(version, row, board)]
    if row is not None:
        checks += judge(row, gates, rows)
    return Decision(version=version, passed=all(check.passed for check in checks), checks=checks)


def judge(row: Row, gates: Sequence[Gate], rows: Mapping[str, Row]) -> list[Check]:
    """One verdict a gate.

    Args:
        row: the candidate's.
        gates: as params.yaml asks for.
        rows: all of the leaderboard, by subject.
    """
    return [_compare(gate, row, rows) if isinstance(gate, NotWorseThan) else _limit(gate, row) for gate in gates]


def challengers(
    decisions: Iterable[Decision], board: Leaderboard, objective: str, champions: Mapping[str, str]
) -> list[Version]:
    """The best that passed of each registered model, unless it is the champion already.

    Args:
        objective: accuracy, latency or size; ties are broken by the other two, then by name.
        champions: digest of each model's champion. When the best is the champion nobody challenges it: the second
            best would only take its place until the next run.
    """
    passed = {decision.version.candidate: decision.version for decision in decisions if decision.passed}
    best: dict[str, Version] = {}
    for row in rank((row for row in board["rows"] if row["subject"] in passed), objective):
        version = passed[row["subject"]]
        best.setdefault(version.model, version)
    return [best[model] for model in sorted(best) if best[model].sha256 != champions.get(model)]


def champion_digests(versions: Iterable[Version], board: Leaderboard) -> dict[str, str]:
    """The artifact that was each model's champion when its candidates were judged; no entry where there was none."""
    rows = {row["subject"]: row for row in board["rows"]}
    digests = {}
    for version in versions:
        row = rows.get(f"champion-{version.candidate.split('-')[1]}")
        if row and row["present"] and row["digest"]:
            digests[version.model] = row["digest"]
    return digests


def _identity(version: Version, row: Row | None, board: Leaderboard) -> Check:
    """Whether the leaderboard speaks of this very artifact, on today's test split."""
    if row is None:
        return _check("evaluated", "not_evaluated")
    if row["digest"] != version.sha256:
        return _check("evaluated", "other_artifact")
    if not row["data"] or row["data"] != board["data"]:
        return _check("evaluated", "other_evaluation_data")
    return _check("evaluated", "passed")


def _limit(gate: AtLeast | AtMost, row: Row) -> Check:
    name = f"{gate.metric} {gate.kind.replace('_', ' ')} {gate.value:g}"
    value, refusal = _number(row, gate.metric)
    if value is None:
        return _check(name, refusal, None, gate.value)
    if isinstance(gate, AtLeast):
        return _check(name, "passed" if value >= gate.value else "below_floor", value, gate.value)
    return _check(name, "passed" if value <= gate.value else "above_ceiling", value, gate.value)


def _compare(gate: NotWorseThan, row: Row, rows: Mapping[str, Row]) -> Check:
    name = f"{gate.metric} not worse than {gate.reference}"
    value, refusal = _number(row, gate.metric)
    if value is None:
        return _check(name, refusal)
    reference = leaderboard.reference(gate.reference, row, rows.values())
    if gate.reference == "champion" and reference is not None and not reference["present"]:
        return _check(name, "first_model", value)
    known = _number(reference, gate.metric)[0] if reference is not None and reference["present"] else None
    if reference is None or known is None:
        return _check(name, "missing_reference", value)
    if not row["data"] or row["data"] != reference["data"]:
        return _check(name, "other_evaluation_data", value)
    if gate.metric in LOWER_IS_BETTER:
        bound, worse = known + gate.margin, value > known + gate.margin
    else:
        bound, worse = known - gate.margin, value < known - gate.margin
    return _check(name, f"worse_than_{gate.reference}" if worse else "passed", value, bound)


def _number(row: Row, metric: str) -> tuple[float | None, str]:
    """The metric's value, or None and the reason why it cannot be judged."""
    columns: Mapping[str, Any] = row
    if metric not in columns:
        return None, "missing_metric"
    value = columns[metric]
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        return None, "not_finite"
    return float(value), "passed"


def _check(gate: str, reason: str, value: float | None = None, bound: float | None = None) -> Check:
    return Check(gate=gate, passed=reason in {"passed", "first_model"}, reason=reason, value=value, bound=bound)
