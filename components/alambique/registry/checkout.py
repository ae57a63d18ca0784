"""A clone at a run's commit, with its stages' results in dvc.lock and the outs that a verb needs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from alambique.errors import IntegrityError
from alambique.layout import REPORT
from alambique.messages import RunRequest, StageResult
from alambique.pipeline import dvc_repository, transfer

LEADERBOARD = REPORT / "leaderboard.json"


@contextmanager
def checked_out(request: RunRequest, paths: Iterable[Path] = ()) -> Iterator[Path]:
    """A throw-away clone at the run's revision, dvc.lock merged from all its stages, with `paths` (whole outs) pulled.

    Raises:
        TransientError: the origin or the DVC remote is out of reach.
        IntegrityError: no stage of the run made one of `paths`.
    """
    for path in paths:
        producer(request, path)
    with dvc_repository.cloned(request.deployment, request.run.revision, "registry") as project:
        entries = {stage: result.entry for stage, result in request.stages.items()}
        dvc_repository.write_lock(project, {**request.run.lock, **entries})
        transfer.pull(project, [path.as_posix() for path in paths])
        yield project


def outs(request: RunRequest) -> dict[str, StageResult]:
    """The stage result behind each out of the run, by path."""
    return {str(out["path"]): result for result in request.stages.values() for out in result.entry.get("outs", ())}


def producer(request: RunRequest, path: Path) -> StageResult:
    """The result of the stage that has `path` among its outs.

    Raises:
        IntegrityError: there is none.
    """
    if result := outs(request).get(path.as_posix()):
        return result
    raise IntegrityError(
        f"no stage of run {request.run.run_id} made {path}; its graph and params.yaml disagree: "
        "run `alambique graph write`, commit, and start another run"
    )
