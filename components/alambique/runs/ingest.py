"""The verb `ingest`: new files join the dataset, in one commit with a record of each file's outcome.

The push of that commit is the last step: an ingestion that is interrupted before it does not change the project's
history, and gives the same result when repeated. Nothing is removed from the place where data arrives.
"""

from __future__ import annotations

import getpass
import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from alambique import config, tasks
from alambique.config.deployment import Deployment
from alambique.data import arrivals
from alambique.data.arrivals import FileOutcome, Record
from alambique.data.dataset import IMAGE_SUFFIXES, Dataset
from alambique.data.merge import History, Merger
from alambique.data.staging import stage
from alambique.data.store import Item, Store, open_store
from alambique.git import git
from alambique.layout import ARRIVALS, DATA
from alambique.messages import Ingested, IngestRequest
from alambique.pipeline import dvc_repository, transfer
from alambique.runs import versioning

log = logging.getLogger(__name__)

JOINED = ("added", "labelled", "relabelled")
"""Outcomes that change the dataset."""


def ingest(request: IngestRequest) -> Ingested:
    """Merge what is new at `arrivals` into the dataset, and commit, tag and push it.

    Broken files are left out, each with its reason in the record, until they change.

    Raises:
        ConfigurationError: `arrivals` is not set, or access is refused.
        TransientError: a service is out of reach, or the branch moved meanwhile.
    """
    store = open_store(arrivals.arrivals_url(request.deployment))
    return _join(request.deployment, store, store.items(), request.by)


def join_unlabelled(deployment: Deployment, store: Store, items: Sequence[Item], by: str) -> Ingested:
    """Add production images to the dataset without labels, in a folder of their own; see `ingest`.

    Args:
        items: images; those that joined before, and other files, are skipped.
        by: who started it, for the record.
    """
    images = [item for item in items if PurePosixPath(item.key).suffix.lower() in IMAGE_SUFFIXES]
    return _join(deployment, store, images, by, from_production=True)


def run(project: Path) -> str:
    """`alambique ingest`, in a project's folder; returns a sentence about the result."""
    deployment = Deployment.load(project)
    done = ingest(IngestRequest(deployment=deployment, by=getpass.getuser()))
    if done.batch is None:
        return f"Nothing new at {deployment.arrivals}"
    joined = ", ".join(f"{count} in {split}" for split, count in sorted(done.added.items())) or "no image joined"
    left_out = f"; {done.quarantined} quarantined, see {ARRIVALS}/{done.batch}.json" if done.quarantined else ""
    return f"Batch {done.batch}: {joined}{left_out} (commit {done.revision[:12]})"


def _join(
    deployment: Deployment, store: Store, items: Iterable[Item], by: str, from_production: bool = False
) -> Ingested:
    """Merge those of the store's files that are new, and commit, tag and push the dataset."""
    with dvc_repository.cloned(deployment, deployment.branch, "ingest") as workspace:
        records = arrivals.load(workspace)
        batch = arrivals.pending(store.url, items, records)
        if not batch:
            return Ingested(batch=None, revision=git("rev-parse", "HEAD", cwd=workspace))
        params = config.load(workspace)
        tasks.require(params.task, "ingest")
        root = _dataset(workspace, deployment)
        staged = stage(store, batch, workspace.parent / "batch", Dataset.load(root).classes)
        merger = Merger(root, params.ingest, _history(records, store.url), from_production)
        record = Record(store.url, by, merger.merge(staged))
        quarantined = [outcome for outcome in record.outcomes if outcome.outcome == "quarantined"]
        for outcome in quarantined:
            log.warning("quarantined %s: %s", next(iter(outcome.versions)), outcome.reason)
        added = _added(record.outcomes)
        if added:
            _version(workspace, deployment)
        changed = [versioning.DATA_FILE, record.save(workspace).as_posix()]
        revision = versioning.commit(workspace, deployment.branch, changed, _message(record))
        versioning.tag(workspace, revision)
        return Ingested(batch=record.batch, revision=revision, added=added, quarantined=len(quarantined))


def _dataset(workspace: Path, deployment: Deployment) -> Path:
    """Folder of the dataset to change: `data` of alambique.yaml, or else the committed dataset, pulled."""
    if deployment.data is not None:
        return deployment.data
    versioning.require_data(workspace)
    transfer.pull(workspace, [str(DATA)])
    return workspace / DATA


def _version(workspace: Path, deployment: Deployment) -> None:
    if deployment.data is not None:
        versioning.track(workspace, deployment.data)
    else:
        versioning.add(workspace, [str(DATA)])
    transfer.push(workspace, [str(DATA)])


def _history(records: Sequence[Record], source: str) -> History:
    keys: dict[str, frozenset[str]] = {}
    paths = set[str]()
    for record in records:
        for outcome in record.outcomes:
            if outcome.path:
                paths.add(outcome.path)
                if record.source == source:
                    keys[outcome.path] = keys.get(outcome.path, frozenset()) | outcome.versions.keys()
    return History(frozenset(paths), keys)


def _added(outcomes: Sequence[FileOutcome]) -> dict[str, int]:
    return dict(Counter(str(outcome.path).partition("/")[0] for outcome in outcomes if outcome.outcome in JOINED))


def _message(record: Record) -> str:
    counts = Counter(outcome.outcome for outcome in record.outcomes)
    summary = ", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items()))
    return f"Ingest batch {record.batch}: {summary}\n\nFrom {record.source}, by {record.by}"
