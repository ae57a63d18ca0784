"""The verb `gate`, and its decisions on a recorded run, read from the run's commit.

The gates are in `evaluation.gates`; their parameters in `config.gate_config`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from alambique import config
from alambique.config.gate_config import Gate
from alambique.errors import ConfigurationError, IntegrityError
from alambique.evaluation import gates, leaderboard
from alambique.evaluation.leaderboard import Leaderboard, rank
from alambique.files import reading, sha256
from alambique.git import fetched
from alambique.layout import DECISIONS, REPORT
from alambique.messages import Decision, Decisions, GateRequest, Version
from alambique.pipeline import dvc_repository
from alambique.registry import aliases
from alambique.registry.run_artifacts import LEADERBOARD, checked_out
from alambique.report.terminal import print_decisions


def gate(request: GateRequest) -> Decisions:
    """Judge every registered version by the run's own leaderboard and params.yaml, and name the challengers.

    Raises:
        IntegrityError: the run began with a champion that the leaderboard has no row of.
        TransientError: MLflow, the origin or the DVC remote is out of reach.
    """
    with checked_out(request, [REPORT]) as project:
        params, board = config.load(project), leaderboard.load(project / LEADERBOARD)
        judged = sha256(project / LEADERBOARD)
    champions = champion_digests(request.versions, board)
    _check_champions(request, champions)
    verdicts = [decide(version, board, gates.configured(params)) for version in request.versions]
    decisions = Decisions(
        run_id=request.run.run_id,
        decisions=verdicts,
        challengers=challengers(verdicts, board, params.promotion.objective, champions),
        champions=champions,
        leaderboard=judged,
    )
    aliases.mark(request.deployment.tracking_uri, decisions)
    print_decisions(decisions)
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


class GateReport(NamedTuple):
    """The gates' verdicts on all candidates of one recorded run.

    Attributes:
        tag: the run's git tag.
        sha256: of its decisions.json.
        outs: paths that the commit's dvc.lock has an entry for.
    """

    tag: str
    decisions: Decisions
    sha256: str
    outs: frozenset[str]


def read_gate_report(origin: str, tag: str) -> GateReport:
    """The gate report of a recorded run, from its commit in `origin`, without a clone.

    Raises:
        ConfigurationError: there is no such tag, or no run was recorded at it.
        TransientError: the origin is out of reach.
    """
    with fetched(origin, f"refs/tags/{tag}", "--depth=1") as (folder, commit):
        if commit is None:
            raise ConfigurationError(f"{origin} has no tag {tag}; `git ls-remote --tags` lists the recorded runs")
        path = folder / DECISIONS
        if not path.is_file():
            raise ConfigurationError(f"{tag} holds no {DECISIONS}: it is not a recorded run; give the tag of one")
        entries = dvc_repository.lock_entries(folder).values()
        outs = frozenset(str(out["path"]) for entry in entries for out in entry.get("outs", ()))
        with reading(path, f"{tag} is not as `record` wrote it: start another run"):
            decisions = Decisions.model_validate_json(path.read_bytes())
        return GateReport(tag, decisions, sha256(path), outs)
