"""The verb `snapshot`: data, resolved inputs and code become the commit of the project that a run starts from."""

from __future__ import annotations

import contextlib
from pathlib import Path

from alambique import config, runtimes, tasks
from alambique.config import Params
from alambique.config.deployment import Deployment
from alambique.errors import AlambiqueError, ConfigurationError
from alambique.files import read_json
from alambique.layout import DATA, INPUTS
from alambique.messages import Run, SnapshotRequest
from alambique.pipeline import dvc_repository, expansion, graph, transfer
from alambique.registry import tracking
from alambique.runs import resolve_inputs, versioning, versions
from alambique.stages.work import INDEX


def snapshot(request: SnapshotRequest) -> Run:
    """Version the dataset and the inputs, commit and push them if they changed, and open the run.

    Equal data, inputs and parameters give the same commit: nothing is written if nothing changed.

    Raises:
        ConfigurationError: the project, its graph or its versions are not those the DAG was built from, or a runtime
            cannot be made on this machine.
        DataError, IntegrityError: the dataset or an input is unusable.
        TransientError: a service is out of reach, or the branch moved meanwhile.
    """
    deployment = request.deployment
    with dvc_repository.cloned(deployment, deployment.branch, "snapshot") as workspace:
        params = config.load(workspace)
        _check(workspace, request.digest)
        runtimes.require_available(params.runtimes)
        _version_data(workspace, params, deployment)
        _version_inputs(workspace, params, deployment)
        changed = (versioning.DATA_FILE, str(INPUTS))
        revision = versioning.commit(workspace, deployment.branch, changed, "Snapshot data and inputs")
        versioning.tag(workspace, revision)
        sources = dvc_repository.source_hashes(workspace)
        return Run(
            run_id=request.run_id,
            revision=revision,
            digest=request.digest,
            sources=sources,
            params=dvc_repository.resolved_params(workspace),
            lock=dvc_repository.lock_entries(workspace),
            champions=_champions(workspace),
            tracking_run=_start_run(request, params, revision, sources[str(DATA)]["md5"]),
        )


def prepare(project: Path, origin: str | None, tracking_uri: str | None) -> None:
    """Resolve the inputs and put them and the data under DVC in a working folder, for `dvc repro`; commits nothing.

    Args:
        origin, tracking_uri: see `resolve_inputs.resolve`.
    Raises:
        as `resolve_inputs.resolve`.
    """
    resolve_inputs.resolve(project, config.load(project), origin, tracking_uri)
    versioning.add(project, (str(DATA), *resolve_inputs.FOLDERS))


def _check(workspace: Path, digest: str) -> None:
    expansion.check(workspace)
    committed = graph.read(workspace).digest
    if committed != digest:
        raise ConfigurationError(
            f"the DAG was built from the graph {digest[:12]}, but the branch holds {committed[:12]}; "
            "redeploy the DAG (its pipeline.json is older or newer than the project's)"
        )
    versions.check(workspace)


def _version_data(workspace: Path, params: Params, deployment: Deployment) -> None:
    if deployment.data is not None:
        tasks.load(params.task).dataset(deployment.data)  # refuses a folder that is no dataset before it is committed
        versioning.track(workspace, deployment.data)
        transfer.push(workspace, [str(DATA)])
    else:
        versioning.require_data(workspace)


def _version_inputs(workspace: Path, params: Params, deployment: Deployment) -> None:
    # An earlier run's inputs only save downloads; those that cannot be pulled are resolved anew.
    with contextlib.suppress(AlambiqueError):
        transfer.pull(workspace, [path for path in resolve_inputs.FOLDERS if (workspace / f"{path}.dvc").exists()])
    resolve_inputs.resolve(workspace, params, deployment.origin, deployment.tracking_uri)
    versioning.add(workspace, resolve_inputs.FOLDERS)
    transfer.push(workspace, resolve_inputs.FOLDERS)


def _champions(workspace: Path) -> dict[str, str]:
    index = read_json(workspace / INPUTS / "champions" / INDEX)
    return {runtime: champion["version"] for runtime, champion in index.items() if champion}


def _start_run(request: SnapshotRequest, params: Params, revision: str, data: str) -> str | None:
    tags = {"alambique.revision": revision, "alambique.data": data}
    if request.dag_run:
        tags["alambique.dag_run"] = request.dag_run
    return tracking.start_run(request.deployment.tracking_uri, params.project, request.run_id, tags)
