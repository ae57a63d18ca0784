"""Copy the gate's decisions and the ledger's state into MLflow's tags and aliases, for display; idempotent.

Alambique never decides by them: MLflow has no compare-and-set for aliases, the ledger has.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from alambique.errors import ConfigurationError, IntegrityError
from alambique.messages import Decision, Decisions, Version
from alambique.registry.client import connect, reachable
from alambique.registry.ledger import State
from alambique.registry.model_versions import DIGEST

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger(__name__)

GATE = "alambique.gate"
REASONS = "alambique.gate.reasons"
ACTION = "alambique.champion.action"
"""The last action on the version: promoted, rolled back (it was replaced), or restored (it came back by a rollback)."""
BY = "alambique.champion.by"
AT = "alambique.champion.at"
WHY = "alambique.champion.why"
GATE_DIGEST = "alambique.champion.gate_digest"


LONGEST_TAG = 5000
"""Characters that every version of MLflow takes in a tag; decisions.json and the ledger have the whole text."""


def mark(tracking_uri: str | None, decisions: Decisions) -> None:
    """Tag every judged version with its verdict, and move or remove the alias `challenger` of each model.

    Raises:
        TransientError: MLflow is out of reach.
    """
    if tracking_uri is None:
        return
    client = connect(tracking_uri)
    challengers = {version.model: version.version for version in decisions.challengers}
    with _shown(tracking_uri, f"the verdicts of {decisions.run_id}"):
        for decision in decisions.decisions:
            version = decision.version
            verdict = "passed" if decision.passed else "rejected"
            client.set_model_version_tag(version.model, version.version, GATE, verdict)
            client.set_model_version_tag(version.model, version.version, REASONS, shown(reasons(decision)))
        for model in sorted({decision.version.model for decision in decisions.decisions}):
            _set(client, model, {"challenger": challengers.get(model)})


def reasons(decision: Decision) -> str:
    """Every failed gate with its reason and explanation; `passed` if none failed."""
    refused = [f"{check.gate}: {check.reason} ({check.explanation})" for check in decision.checks if not check.passed]
    return "; ".join(refused) or "passed"


@contextmanager
def _shown(tracking_uri: str, what: str) -> Iterator[None]:
    """Write to MLflow; a refusal is a warning, since what is shown must not stop what is true."""
    try:
        with reachable(tracking_uri):
            yield
    except ConfigurationError as error:
        log.warning("MLflow does not show %s, which stays as git has it: %s", what, error)


def shown(text: str) -> str:
    """A text as a tag holds it: cut, if it is too long."""
    return text if len(text) <= LONGEST_TAG else f"{text[: LONGEST_TAG - 1]}…"


def sync_aliases(tracking_uri: str | None, model: str, state: State) -> None:
    """Set the aliases champion and previous as in the ledger, and remove `challenger` from a version that is champion.

    Tags of the versions tell who decided, when, and why.

    Raises:
        TransientError: MLflow is out of reach.
    """
    if tracking_uri is None:
        return
    client = connect(tracking_uri)
    with _shown(tracking_uri, f"the champion of {model}"):
        # MLflow has no version that was promoted before runs were tracked.
        known = {str(entry.version): entry.tags for entry in client.search_model_versions(f"name = '{model}'")}
        if not known:
            return
        _tag(client, model, state, known)
        entries = {"champion": state.champion, "previous": state.previous}
        targets = {name: entry.version if entry and entry.version in known else None for name, entry in entries.items()}
        if _aliases(client, model).get("challenger") == state.champion.version:
            targets["challenger"] = None
        _set(client, model, targets)


def _tag(client: MlflowClient, model: str, state: State, known: Mapping[str, Mapping[str, str]]) -> None:
    """Write the ledger's last change into the tags of the versions it concerns, unless `known` says they have them."""
    champion, previous = state.champion, state.previous
    change = {BY: champion.by, AT: str(state.at), WHY: champion.why}
    tags_by_version = {champion.version: {**change, ACTION: champion.action, GATE_DIGEST: champion.gate_digest}}
    if previous and champion.action == "restored":
        tags_by_version[previous.version] = {**change, ACTION: "rolled back"}
    for version, tags in tags_by_version.items():
        for name, value in tags.items():
            if version in known and known[version].get(name, "") != shown(value):
                _retry_once(client.set_model_version_tag, model, version, name, shown(value))


def verify(tracking_uri: str | None, version: Version) -> None:
    """Check that the registered version is still the artifact that was judged.

    Raises:
        IntegrityError: its digest differs, or the version was deleted.
        TransientError: MLflow is out of reach.
    """
    if tracking_uri is None:
        digest = version.sha256 if version.sha256.startswith(version.version) else "another"
    else:
        client = connect(tracking_uri)
        with reachable(tracking_uri):
            registered = client.search_model_versions(f"name = '{version.model}'")
            digests = {str(entry.version): entry.tags.get(DIGEST) for entry in registered}
        digest = digests.get(version.version) or "none"
    if digest != version.sha256:
        raise IntegrityError(
            f"{version.model} version {version.version} has the digest {digest[:12]}, but the gate judged "
            f"{version.sha256[:12]}; start another run"
        )


def _set(client: MlflowClient, model: str, targets: Mapping[str, str | None]) -> None:
    present = _aliases(client, model)
    for alias, version in targets.items():
        if version is None and alias in present:
            client.delete_registered_model_alias(model, alias)
        elif version is not None and present.get(alias) != version:
            _retry_once(client.set_registered_model_alias, model, alias, version)


def _aliases(client: MlflowClient, model: str) -> dict[str, str]:
    """Version of each alias of a registered model."""
    return {alias: str(version) for alias, version in client.get_registered_model(model).aliases.items()}


def _retry_once(write: Callable[..., None], *arguments: str) -> None:
    """Write to MLflow, and once more if that fails: with two writers its database inserts a row that has just appeared.

    The second try then updates that row.
    """
    from mlflow.exceptions import MlflowException

    try:
        write(*arguments)
    except MlflowException:
        write(*arguments)
