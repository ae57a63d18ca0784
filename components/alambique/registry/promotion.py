"""Promote and roll back: the ledger decides, by compare-and-swap; MLflow's aliases follow it."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from alambique.config.deployment import Deployment
from alambique.errors import ConfigurationError, ConflictError, IntegrityError, PermanentError, TransientError
from alambique.files import sha256
from alambique.git import git
from alambique.layout import CANDIDATES, DECISIONS
from alambique.messages import Decisions, Promoted, PromoteRequest, RollbackRequest, Version
from alambique.pipeline import dvc_repository
from alambique.registry import aliases
from alambique.registry.ledger import Entry, Ledger, State


class Judgement(NamedTuple):
    """What a recorded run decided.

    Attributes:
        sha256: of its decisions.json.
        outs: the paths that its dvc.lock can give back.
    """

    tag: str
    decisions: Decisions
    sha256: str
    outs: frozenset[str]


def promote(request: PromoteRequest) -> Promoted:
    """Make each challenger of a recorded run champion; the champion before becomes previous.

    Only the very artifact that the gate judged is promoted, and only over the champion that it was judged against.
    Where somebody approved, it is by the judgement that they saw. Promoting a champion again changes nothing.

    Raises:
        ConfigurationError: there is no such tag, or no run was recorded at it.
        IntegrityError: a registered version is not what was judged.
        ConflictError: the champion is another than when the run was judged, or the judgement than when it was approved.
        TransientError: the origin or MLflow is out of reach.
    """
    judgement = read_judgement(request.deployment.origin, request.tag)
    if request.judgement not in {None, judgement.sha256}:
        raise ConflictError(
            f"{request.tag} holds the judgement {judgement.sha256[:12]}, and {str(request.judgement)[:12]} was "
            f"approved: its {DECISIONS} was replaced since; look at it and approve again"
        )
    challengers = judgement.decisions.challengers
    for version in challengers:
        _verify(judgement, version, request.deployment.tracking_uri)
    for version in challengers:
        _promote(request, judgement, version)
    return Promoted(champions=challengers)


def rollback(request: RollbackRequest) -> Promoted:
    """Exchange a model's champion and previous.

    Raises:
        ConfigurationError: there is no previous champion.
        ConflictError: somebody else moved the ledger at the same time.
        PermanentError: a service failed midway. This is never retried: a second rollback would undo the first.
    """
    ledger = Ledger(request.deployment.origin, request.model)
    state = ledger.read()
    if state is None or state.previous is None:
        raise ConfigurationError(f"{request.model} has no previous champion in {ledger.origin} to go back to")
    back = replace(state.previous, by=request.by, why=request.why, deed="restored")
    try:
        moved = ledger.move(State(back, state.champion), state.sha, _message("Roll back to", back))
        _project(request.deployment.tracking_uri, ledger, moved)
    except TransientError as error:
        raise PermanentError(
            f"rolling {request.model} back to version {back.version} was interrupted: {error}; "
            f"look at {ledger.ref} before trying again, it may have moved"
        ) from error
    return Promoted(champions=[_version(back)])


def repair(deployment: Deployment, model: str) -> State | None:
    """Let MLflow's aliases say again what the ledger says; a promotion may have died between the two.

    Returns:
        the ledger's state; None before the first promotion.
    Raises:
        TransientError: the origin or MLflow is out of reach.
    """
    ledger = Ledger(deployment.origin, model)
    state = ledger.read()
    return state and _project(deployment.tracking_uri, ledger, state)


def _project(tracking_uri: str | None, ledger: Ledger, state: State) -> State:
    """Let MLflow follow the ledger, until it has caught up; the state that it shows.

    Who read the ledger, was overtaken, and wrote to MLflow last would leave it with the champion of before.
    """
    while True:
        aliases.project(tracking_uri, ledger.model, state)
        present = ledger.read() if tracking_uri else state
        if present is None or present.sha == state.sha:
            return state
        state = present


def _promote(request: PromoteRequest, judgement: Judgement, version: Version) -> None:
    deployment = request.deployment
    state = repair(deployment, version.model)
    champion = state.champion if state else None
    if champion and champion.digest == version.sha256:
        return
    _check_judged_against(judgement, version.model, champion)
    entry = Entry(
        model=version.model,
        version=version.version,
        candidate=version.candidate,
        tag=judgement.tag,
        digest=version.sha256,
        gate_digest=judgement.sha256,
        by=request.by,
        why=request.why,
    )
    ledger = Ledger(deployment.origin, version.model)
    moved = ledger.move(State(entry, champion), state.sha if state else None, _message("Promote", entry))
    _project(deployment.tracking_uri, ledger, moved)


def _check_judged_against(judgement: Judgement, model: str, champion: Entry | None) -> None:
    expected, found = judgement.decisions.champions.get(model), champion.digest if champion else None
    if found != expected:
        raise ConflictError(
            f"{judgement.tag} was judged against the champion {(expected or 'none')[:12]} of {model}, which is "
            f"{(found or 'none')[:12]} now; start another run, which will be judged against it"
        )


def read_judgement(origin: str, tag: str) -> Judgement:
    """What a recorded run decided, read from its commit in `origin`, without a clone.

    Raises:
        ConfigurationError: there is no such tag, or no run was recorded at it.
        TransientError: the origin is out of reach.
    """
    with tempfile.TemporaryDirectory(prefix="alambique-promotion-") as name:
        folder = Path(name)
        git("init", "--quiet", cwd=folder)
        if not git("ls-remote", origin, f"refs/tags/{tag}", cwd=folder):
            raise ConfigurationError(f"{origin} has no tag {tag}; `git ls-remote --tags` lists the recorded runs")
        git("fetch", "--quiet", "--depth=1", origin, f"refs/tags/{tag}", cwd=folder)
        git("checkout", "--quiet", "--detach", "FETCH_HEAD", cwd=folder)
        path = folder / DECISIONS
        if not path.is_file():
            raise ConfigurationError(f"{tag} holds no {DECISIONS}: it is not a recorded run; give the tag of one")
        entries = dvc_repository.lock_entries(folder).values()
        outs = frozenset(str(out["path"]) for entry in entries for out in entry.get("outs", ()))
        return Judgement(tag, Decisions.model_validate_json(path.read_text()), sha256(path), outs)


def _verify(judgement: Judgement, version: Version, tracking_uri: str | None) -> None:
    passed = {decision.version for decision in judgement.decisions.decisions if decision.passed}
    if version not in passed:
        raise IntegrityError(
            f"{judgement.tag} names {version.candidate} as challenger, but no gate let it pass; start another run"
        )
    if (CANDIDATES / version.candidate).as_posix() not in judgement.outs:
        raise IntegrityError(
            f"{judgement.tag} cannot give {version.candidate} back: its dvc.lock lacks it; start another run"
        )
    aliases.verify(tracking_uri, version)


def _version(entry: Entry) -> Version:
    return Version(candidate=entry.candidate, model=entry.model, version=entry.version, sha256=entry.digest)


def _message(deed: str, entry: Entry) -> str:
    return f"{deed} {entry.model} {entry.version} ({entry.candidate} of {entry.tag}), decided by {entry.by}"
