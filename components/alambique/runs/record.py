"""The verbs `record`, `unchanged` and `end`: a run becomes a git tag, `runs/<run_id>`, with dvc.lock and
decisions.json, or ends without one.

The stages pushed their outs, so that a clone at the tag and `dvc pull` restore every artifact, bit for bit.
"""

from __future__ import annotations

import logging
from pathlib import Path

from alambique import config
from alambique.errors import AlambiqueError, ConflictError, TransientError
from alambique.files import write_json
from alambique.git import git, ref
from alambique.layout import DECISIONS
from alambique.messages import Ended, EndRequest, Recorded, RecordRequest, Unchanged, UnchangedRequest
from alambique.registry.client import connect, reachable
from alambique.registry.run_artifacts import checked_out
from alambique.registry.tracking import start_run

log = logging.getLogger(__name__)

LOCK = "dvc.lock"
OUTCOME = "alambique.outcome"


def record(request: RecordRequest) -> Recorded:
    """Commit and tag the run, and fast-forward the branch to it unless the branch has moved.

    Raises:
        ConflictError: the run was recorded already, with other results.
        TransientError: the origin or MLflow is out of reach.
    """
    tag = ref(f"runs/{request.run.run_id}")
    with checked_out(request) as workspace:
        write_json(workspace / DECISIONS, request.decisions.model_dump(mode="json"))
        git("add", LOCK, str(DECISIONS), cwd=workspace)
        revision = _recorded(workspace, tag) or _commit(workspace, tag, request)
        moved = _fast_forward(workspace, revision, request.deployment.branch)
        _end_run(request, workspace, tag, revision)
    return Recorded(tag=tag, revision=revision, branch_moved=moved)


def unchanged(request: UnchangedRequest) -> Unchanged:
    """End the MLflow run of a run that ends before its stages, since nothing changed; nothing is recorded.

    Raises:
        TransientError: MLflow is out of reach.
    """
    uri, run = request.deployment.tracking_uri, request.run
    if uri and run.tracking_run:
        client = connect(uri)
        with reachable(uri):
            client.set_tag(run.tracking_run, OUTCOME, "no_new_data")
            client.set_terminated(run.tracking_run, "FINISHED")
    return Unchanged(revision=run.revision)


def end(request: EndRequest) -> Ended:
    """End the MLflow run of a run that neither `record` nor `unchanged` ended: one of its tasks failed.

    Raises:
        TransientError: MLflow is out of reach.
    """
    uri, run = request.deployment.tracking_uri, request.run
    if not uri or not run.tracking_run:
        return Ended(status=None)
    client = connect(uri)
    with reachable(uri):
        status = str(client.get_run(run.tracking_run).info.status)
        if status == "RUNNING":
            client.set_terminated(run.tracking_run, status := "FAILED")
    return Ended(status=status)


def _recorded(workspace: Path, tag: str) -> str | None:
    """The commit of an earlier attempt with the same content, if any."""
    if not git("tag", "--list", tag, cwd=workspace):
        return None
    if changed := git("diff", "--cached", "--name-only", tag, "--", LOCK, str(DECISIONS), cwd=workspace):
        raise ConflictError(
            f"the tag {tag} holds another {' and '.join(changed.split())}: this run was recorded with other results; "
            "start a run with another id"
        )
    return git("rev-parse", f"{tag}^{{commit}}", cwd=workspace)


def _commit(workspace: Path, tag: str, request: RecordRequest) -> str:
    names = [f"{version.model} {version.version}" for version in request.decisions.challengers]
    body = f"Challengers: {', '.join(names) or 'none'}"
    subject = f"Record run {request.run.run_id}"
    git("-c", "commit.gpgsign=false", "commit", "--quiet", "-m", subject, "-m", body, cwd=workspace)
    git("tag", "--no-sign", tag, cwd=workspace)
    git("push", "--quiet", "origin", f"refs/tags/{tag}", cwd=workspace)
    return git("rev-parse", "HEAD", cwd=workspace)


def _fast_forward(workspace: Path, revision: str, branch: str) -> bool:
    """Whether the branch contains the run now; it is never forced, since people commit to it, too."""
    if git("branch", "--remotes", "--contains", revision, "--list", f"origin/{ref(branch)}", cwd=workspace):
        return True
    try:
        git("push", "--quiet", "origin", f"{revision}:refs/heads/{ref(branch)}", cwd=workspace)
    except TransientError:
        raise
    except AlambiqueError as error:
        log.warning("the run is kept at its tag, but the branch %s stays where it is: %s", branch, error)
        return False
    return True


def _end_run(request: RecordRequest, workspace: Path, tag: str, revision: str) -> None:
    if (uri := request.deployment.tracking_uri) is None:
        return
    project = config.load(workspace).project
    parent = request.run.tracking_run or start_run(uri, project, request.run.run_id, {})
    tags = {
        "alambique.revision": revision,
        "alambique.tag": tag,
        "alambique.data": request.run.sources.get("data", {}).get("md5", ""),
    }
    client = connect(uri)
    with reachable(uri):
        for name, value in tags.items():
            client.set_tag(parent, name, value)
        client.log_artifact(parent, str(workspace / DECISIONS))
        client.set_terminated(parent, "FINISHED")
