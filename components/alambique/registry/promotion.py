"""The verbs `promote` and `rollback`: the ledger moves by compare-and-swap, then MLflow's aliases are set to match."""

from __future__ import annotations

from alambique.config.deployment import Deployment
from alambique.errors import ConfigurationError, ConflictError, IntegrityError, PermanentError, TransientError
from alambique.layout import CANDIDATES, DECISIONS
from alambique.messages import Promoted, PromoteRequest, RollbackRequest, Version
from alambique.registry import aliases
from alambique.registry.gate_command import GateReport, read_gate_report
from alambique.registry.ledger import Entry, Ledger, State


def promote(request: PromoteRequest) -> Promoted:
    """Make each challenger of a recorded run champion; the champion before becomes previous.

    Only the artifact that the gates judged is promoted, and only over the champion that it was compared with. With an
    approval, the gate report must be the one that was approved. Promoting a champion again changes nothing.

    Raises:
        ConfigurationError: there is no such tag, or no run was recorded at it.
        IntegrityError: a registered version is not what was judged.
        ConflictError: the champion changed since the run was judged, or the gate report since it was approved.
        TransientError: the origin or MLflow is out of reach.
    """
    report = read_gate_report(request.deployment.origin, request.tag)
    if request.judgement not in {None, report.sha256}:
        raise ConflictError(
            f"{request.tag} holds the gate report {report.sha256[:12]}, and {str(request.judgement)[:12]} was "
            f"approved: its {DECISIONS} was replaced since; look at it and approve again"
        )
    challengers = report.decisions.challengers
    for version in challengers:
        _verify(report, version, request.deployment.tracking_uri)
    for version in challengers:
        _promote(request, report, version)
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
    back = state.previous.model_copy(update={"by": request.by, "why": request.why, "action": "restored"})
    try:
        moved = ledger.move(State(back, state.champion), state.sha, _message("Roll back to", back))
        _sync_aliases(request.deployment.tracking_uri, ledger, moved)
    except TransientError as error:
        raise PermanentError(
            f"rolling {request.model} back to version {back.version} was interrupted: {error}; "
            f"look at {ledger.ref} before trying again, it may have moved"
        ) from error
    champion = Version(
        candidate=back.candidate, model=back.model, version=back.version, sha256=back.digest, card=back.card
    )
    return Promoted(champions=[champion])


def repair(deployment: Deployment, model: str) -> State | None:
    """Set MLflow's aliases to the ledger's state again: a promotion may have been killed between the two writes.

    Returns:
        the ledger's state; None before the first promotion.
    Raises:
        TransientError: the origin or MLflow is out of reach.
    """
    ledger = Ledger(deployment.origin, model)
    state = ledger.read()
    return state and _sync_aliases(deployment.tracking_uri, ledger, state)


def _sync_aliases(tracking_uri: str | None, ledger: Ledger, state: State) -> State:
    """Set MLflow's aliases to the ledger's state, again if it moved meanwhile; returns the state they show now.

    Without the second look, a process that read the ledger first and wrote to MLflow last would leave an old champion.
    """
    while True:
        aliases.sync_aliases(tracking_uri, ledger.model, state)
        present = ledger.read() if tracking_uri else state
        if present is None or present.sha == state.sha:
            return state
        state = present


def _promote(request: PromoteRequest, report: GateReport, version: Version) -> None:
    deployment = request.deployment
    state = repair(deployment, version.model)
    champion = state.champion if state else None
    if champion and champion.digest == version.sha256:
        return
    expected, present = report.decisions.champions.get(version.model), champion.digest if champion else None
    if present != expected:
        raise ConflictError(
            f"{report.tag} was judged against the champion {(expected or 'none')[:12]} of {version.model}, which is "
            f"{(present or 'none')[:12]} now; start another run, which will be judged against it"
        )
    entry = Entry(
        model=version.model,
        version=version.version,
        candidate=version.candidate,
        tag=report.tag,
        digest=version.sha256,
        card=version.card,
        gate_digest=report.sha256,
        by=request.by,
        why=request.why,
    )
    ledger = Ledger(deployment.origin, version.model)
    moved = ledger.move(State(entry, champion), state.sha if state else None, _message("Promote", entry))
    _sync_aliases(deployment.tracking_uri, ledger, moved)


def _verify(report: GateReport, version: Version, tracking_uri: str | None) -> None:
    passed = {decision.version for decision in report.decisions.decisions if decision.passed}
    if version not in passed:
        raise IntegrityError(
            f"{report.tag} names {version.candidate} as challenger, but no gate let it pass; start another run"
        )
    if (CANDIDATES / version.candidate).as_posix() not in report.outs:
        raise IntegrityError(
            f"{report.tag} cannot give {version.candidate} back: its dvc.lock lacks it; start another run"
        )
    aliases.verify(tracking_uri, version)


def _message(action: str, entry: Entry) -> str:
    return f"{action} {entry.model} {entry.version} ({entry.candidate} of {entry.tag}), decided by {entry.by}"
