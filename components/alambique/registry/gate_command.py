"""The verb `gate`: judge every registered version by the run's leaderboard, and name the challengers.

The gates are in `evaluation.gates`; their parameters in `config.gate_config`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from alambique import config
from alambique.config.gate_config import Gate
from alambique.errors import IntegrityError
from alambique.evaluation import gates, leaderboard
from alambique.evaluation.leaderboard import Leaderboard, rank
from alambique.layout import REPORT
from alambique.messages import Decision, Decisions, GateRequest, Version
from alambique.registry import aliases
from alambique.registry.checkout import LEADERBOARD, checked_out
from alambique.report import checks


def gate(request: GateRequest) -> Decisions:
    """Judge every registered version by the run's own leaderboard and params.yaml, and name the challengers.

    Raises:
        IntegrityError: the run began with a champion that the leaderboard has no row of.
        TransientError: MLflow, the origin or the DVC remote is out of reach.
    """
    with checked_out(request, [REPORT]) as project:
        params, board = config.load(project), leaderboard.load(project / LEADERBOARD)
    champions = champion_digests(request.versions, board)
    _check_champions(request, champions)
    verdicts = [decide(version, board, gates.configured(params)) for version in request.versions]
    decisions = Decisions(
        run_id=request.run.run_id,
        decisions=verdicts,
        challengers=challengers(verdicts, board, params.promotion.objective, champions),
        champions=champions,
    )
    aliases.mark(request.deployment.tracking_uri, decisions)
    checks.show(decisions)
    return decisions


def _check_champions(request: GateRequest, champions: Mapping[str, str]) -> None:
    """Refuse a run whose champion was not measured: the gates would take it for a first model."""
    models = {version.candidate.split("-")[1]: version.model for version in request.versions}
    for runtime, version in request.run.champions.items():
        if runtime in models and models[runtime] not in champions:
            raise IntegrityError(
                f"run {request.run.run_id} began with version {version} as champion of {models[runtime]}, but its "
                f"leaderboard has no champion-{runtime}; look at inputs/champions/{runtime} and start another run"
            )


def decide(version: Version, board: Leaderboard, configured: Sequence[Gate]) -> Decision:
    """All gates' verdicts on one registered version; it passes if each gate passes."""
    verdict = gates.judge_candidate(version.candidate, board, configured, version.sha256)
    return Decision(version=version, passed=verdict.passed, checks=verdict.checks)


def challengers(
    decisions: Iterable[Decision], board: Leaderboard, objective: str, champions: Mapping[str, str]
) -> list[Version]:
    """The best candidate that passed, of each registered model, unless it is the champion already.

    Args:
        objective: accuracy, latency or size; ties are broken by the other two, then by name.
        champions: digest of each model's champion. If the best candidate is the champion there is no challenger: the
            second best would replace it only until the next run.
    """
    passed = {decision.version.candidate: decision.version for decision in decisions if decision.passed}
    best: dict[str, Version] = {}
    for row in rank((row for row in board["rows"] if row["subject"] in passed), objective, board["headline"]):
        version = passed[row["subject"]]
        best.setdefault(version.model, version)
    return [best[model] for model in sorted(best) if best[model].sha256 != champions.get(model)]


def champion_digests(versions: Iterable[Version], board: Leaderboard) -> dict[str, str]:
    """Digest of the artifact that was each model's champion when its candidates were judged; no entry without one."""
    rows = {row["subject"]: row for row in board["rows"]}
    digests = {}
    for version in versions:
        row = rows.get(f"champion-{version.candidate.split('-')[1]}")
        if row and row["present"] and row["digest"]:
            digests[version.model] = row["digest"]
    return digests
