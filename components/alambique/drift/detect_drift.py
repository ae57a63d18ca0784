"""The verb `drift`: the newest production images against what the champion was made from.

A verdict is kept in `home`, by what it depends on: a watch every hour computes nothing while nothing new came.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from alambique import config, tasks
from alambique.config import Params
from alambique.config.deployment import Deployment
from alambique.data.arrivals import Pair
from alambique.data.store import Item, Store, open_store
from alambique.drift import (
    comparisons,
    label_selection,
    mlflow_log,
    page,
    performance,
    production_batch,
    reference,
    verdict,
)
from alambique.drift.features import Batch
from alambique.drift.production_batch import Fetched
from alambique.drift.reference import Champion
from alambique.errors import ConfigurationError
from alambique.files import fresh_folder, read_json, write_json, write_text
from alambique.messages import Drift, DriftRequest, Ingested
from alambique.runs import versioning


class Looked(NamedTuple):
    """The answer, and the folder that holds the verdict, if there is one."""

    answer: Drift
    folder: Path | None = None


def drift(request: DriftRequest) -> Drift:
    """Judge the newest production images; on drift they join the dataset without labels.

    Raises:
        ConfigurationError: nothing is watched, or it is not there, or it refuses access.
        IntegrityError: the DVC remote lacks what the champion was made from.
        TransientError: a service is out of reach.
    """
    return look(request).answer


def look(request: DriftRequest) -> Looked:
    """`drift`, and where the verdict lies."""
    deployment = request.deployment
    store = open_store(_watched(deployment))
    with versioning.workspace(deployment, "drift") as project:
        params = config.load(project)
        tasks.require(params.task, "drift")
        if (entry := reference.present(params, deployment.origin)) is None:
            return Looked(Drift(verdict="no_champion", n=0))
        wanted = production_batch.newest(store.items(), params.drift.window)
        name = verdict.identity(entry, store.url, wanted, params)
        folder = deployment.home.absolute() / "drift" / name
        if not (folder / verdict.RESULT).exists():
            if len(wanted) < params.drift.min_images:
                return Looked(Drift(verdict="too_few", n=len(wanted)))
            champion = reference.check_out(project, entry)
            fetched = production_batch.fetch(store, wanted, project.parent / "batch", champion.classes)
            if len(fetched.staged) < params.drift.min_images:
                return Looked(Drift(verdict="too_few", n=len(fetched.staged)))
            _judge(name, folder, champion, fetched, deployment, params)
    found = read_json(folder / verdict.RESULT)
    joined = _join(deployment, store, wanted, found, request.by)
    report = mlflow_log.log(deployment.tracking_uri, found, folder) or str(folder / verdict.PAGE)
    answer = Drift(
        verdict=found["verdict"], n=found["batch"]["images"], signals=found["drifted"], report=report, ingested=joined
    )
    return Looked(answer, folder)


def _watched(deployment: Deployment) -> str:
    if deployment.production is None:
        raise ConfigurationError("`production` of alambique.yaml is empty; name an s3://bucket/prefix or a folder")
    return deployment.production


def _judge(
    name: str, folder: Path, champion: Champion, fetched: Fetched, deployment: Deployment, params: Params
) -> None:
    """Compare the batch with the reference, and keep what came out in the new folder `folder`."""
    task = tasks.load(params.task)
    known, field = reference.load(champion, deployment, task, params)
    seen = Batch(
        fetched.statistics, task.drift_features(champion.project / champion.checkpoint, fetched.images, params)
    )
    asked = comparisons.compare(known, seen, params.drift.false_alarms)
    familiar = field is not None and not comparisons.any_drifted(
        comparisons.compare(field, seen, params.drift.false_alarms, classes=False)
    )
    measured = performance.measure(champion, fetched, champion.project.parent, task, params)
    found = verdict.content(name, champion, known, fetched, asked, familiar, measured, params)
    # Without a reference of its own the batch is its own: then nothing in it is strange, and doubt alone decides.
    embeddings = (known.observed or seen.observed).embeddings
    strange = label_selection.strangeness(embeddings, seen.observed.embeddings)
    choices = label_selection.worth_labelling(embeddings, seen.observed.embeddings, seen.observed.uncertainty)
    with fresh_folder(folder) as target:
        if found["verdict"] == "drift":
            verdict.write_list(target / verdict.TO_LABEL, choices, fetched)
        write_text(target / verdict.PAGE, page.render(found, known, seen, fetched, strange, choices))
        write_json(target / verdict.RESULT, found)


def _join(deployment: Deployment, store: Store, wanted: list[Pair], found: dict[str, Any], by: str) -> Ingested | None:
    """Let a drifted batch join the dataset; files that cannot are left out there, too."""
    if found["verdict"] != "drift":
        return None
    from alambique.runs.ingest import join_unlabelled

    items: list[Item] = [pair.image for pair in wanted if pair.image]
    return join_unlabelled(deployment, store, items, by)
