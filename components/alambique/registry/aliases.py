"""MLflow's view of what the gate and the ledger decided: tags and aliases, each written again at no harm.

Nothing is decided by what stands here. MLflow has no compare-and-set for aliases; they follow the ledger.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from alambique.errors import IntegrityError
from alambique.messages import Decision, Decisions, Version
from alambique.registry.client import connect, reachable
from alambique.registry.ledger import State
from alambique.registry.model_versions import DIGEST

if TYPE_CHECKING:
    from mlflow import MlflowClient

GATE = "alambique.gate"
REASONS = "alambique.gate.reasons"
DEED = "alambique.champion.deed"
"""What was done to the version last: promoted, rolled back (it had to leave), or restored (it came back instead)."""
BY = "alambique.champion.by"
AT = "alambique.champion.at"
WHY = "alambique.champion.why"
GATE_DIGEST = "alambique.champion.gate_digest"


def mark(tracking_uri: str | None, decisions: Decisions) -> None:
    """Tag every judged version with its verdict, and move `challenger` of each model, or remove it.

    Raises:
        TransientError: MLflow is out of reach.
    """
    if tracking_uri is None:
        return
    client = connect(tracking_uri)
    challengers = {version.model: version.version for version in decisions.challengers}
    with reachable(tracking_uri):
        for decision in decisions.decisions:
            version = decision.version
            verdict = "passed" if decision.passed else "rejected"
            client.set_model_version_tag(version.model, version.version, GATE, verdict)
            client.set_model_version_tag(version.model, version.version, REASONS, reasons(decision))
    for model in sorted({decision.version.model for decision in decisions.decisions}):
        _set(tracking_uri, model, {"challenger": challengers.get(model)})


def reasons(decision: Decision) -> str:
    """Why it was refused, every failed gate by its reason and in words; else `passed`."""
    refused = [f"{check.gate}: {check.reason} ({check.explanation})" for check in decision.checks if not check.passed]
    return "; ".join(refused) or "passed"


def project(tracking_uri: str | None, model: str, state: State) -> None:
    """Make the aliases say what the ledger says: champion, previous, and no challenger that has become champion.

    Tags of the versions tell who did it, when, and why.

    Raises:
        TransientError: MLflow is out of reach.
    """
    if tracking_uri is None:
        return
    client = connect(tracking_uri)
    with reachable(tracking_uri):
        # What was promoted before runs were tracked is unknown to MLflow.
        known = {str(each.version): each.tags for each in client.search_model_versions(f"name = '{model}'")}
        if not known:
            return
        _tag(client, model, state, known)
        challenger = _present(client.get_registered_model(model).aliases).get("challenger")
    entries = {"champion": state.champion, "previous": state.previous}
    wanted = {alias: entry.version if entry and entry.version in known else None for alias, entry in entries.items()}
    if challenger == state.champion.version:
        wanted["challenger"] = None
    _set(tracking_uri, model, wanted)


def _tag(client: MlflowClient, model: str, state: State, known: Mapping[str, Mapping[str, str]]) -> None:
    """Write the ledger's last change into the tags of the versions that it is about.

    Args:
        known: the tags of every version that MLflow knows.
    """
    champion, previous = state.champion, state.previous
    change = {BY: champion.by, AT: str(state.at), WHY: champion.why}
    wanted = {champion.version: {**change, DEED: champion.deed, GATE_DIGEST: champion.gate_digest}}
    if previous and champion.deed == "restored":
        wanted[previous.version] = {**change, DEED: "rolled back"}
    for version, tags in wanted.items():
        for name, value in tags.items():
            if version in known and known[version].get(name, "") != value:
                _twice(client.set_model_version_tag, model, version, name, value)


def verify(tracking_uri: str | None, version: Version) -> None:
    """Check that the registered version is still the artifact that was judged.

    Raises:
        IntegrityError: its digest is another, or it is gone.
        TransientError: MLflow is out of reach.
    """
    if tracking_uri is None:
        found = version.sha256 if version.sha256.startswith(version.version) else "another"
    else:
        client = connect(tracking_uri)
        with reachable(tracking_uri):
            registered = client.search_model_versions(f"name = '{version.model}'")
            found = {str(each.version): each.tags.get(DIGEST) for each in registered}.get(version.version) or "none"
    if found != version.sha256:
        raise IntegrityError(
            f"{version.model} version {version.version} has the digest {found[:12]}, but the gate judged "
            f"{version.sha256[:12]}; start another run"
        )


def _set(tracking_uri: str, model: str, wanted: Mapping[str, str | None]) -> None:
    client = connect(tracking_uri)
    with reachable(tracking_uri):
        present = _present(client.get_registered_model(model).aliases)
        for alias, version in wanted.items():
            if version is None and alias in present:
                client.delete_registered_model_alias(model, alias)
            elif version is not None and present.get(alias) != version:
                _twice(client.set_registered_model_alias, model, alias, version)


def _twice(write: Callable[..., None], *arguments: str) -> None:
    """Write to MLflow, and once more where another writer was quicker.

    Its database inserts what it did not find, and fails where that has appeared meanwhile; then there is one to change.
    """
    from mlflow.exceptions import MlflowException

    try:
        write(*arguments)
    except MlflowException:
        write(*arguments)


def _present(aliases: Mapping[str, object]) -> dict[str, str]:
    return {alias: str(version) for alias, version in aliases.items()}
