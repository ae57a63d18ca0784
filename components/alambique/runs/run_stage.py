"""The verb `run-stage`: a stage's result by its key, or the stage run in a workspace, tracked in MLflow."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from alambique.files import fresh_folder, write_json
from alambique.layout import CARD, EvaluationTarget, evaluation, evaluation_metrics
from alambique.messages import StageRequest, StageResult
from alambique.pipeline.graph import Stage
from alambique.pipeline.keys import Inputs
from alambique.pipeline.workspace import Track, workspace
from alambique.registry.tracking import stage_run
from alambique.stages.validate import VERDICT, require_valid


def run_stage(request: StageRequest) -> StageResult:
    """Find the result of a stage by its key, or else run the stage and keep its result.

    Raises:
        IntegrityError: the clone is not what the run was planned on, an object or lock entry is missing or damaged, or
            the stage saw other inputs than its key says.
        DataError: the dataset failed validation; the result is kept all the same.
        TransientError: the origin or the DVC remote is out of reach.
        AlambiqueError: whatever the stage left as its error.
    """
    with workspace(request) as (place, graph):
        result = place.find(graph) or place.run(_track(request), write_absent)
        if str(VERDICT) in place.stage.outs:  # `validate` itself succeeds, so that its findings are kept
            place.have(str(VERDICT), result)
            require_valid(place.root)
        return result


def _track(request: StageRequest) -> Track:
    """A child run of the pipeline run in MLflow, with the stage's live metrics and its outputs."""

    @contextmanager
    def track(inputs: Inputs, events: Path) -> Iterator[Callable[[Path], str | None]]:
        uri, parent = request.deployment.tracking_uri, request.run.tracking_run
        with stage_run(uri, parent, request.stage, inputs.key, inputs.params, events) as child:

            def succeeded(root: Path) -> str | None:
                child.log_outputs(root, list(inputs.outs))
                return child.run_id

            yield succeeded

    return track


def write_absent(stage: Stage, project: Path) -> bool:
    """Write the outs of `stage` if it evaluates a champion that does not exist, for which no runtime is needed.

    Reads   inputs/champions/
    Writes  evaluations/<champion>/, metrics/evaluate/<champion>.json
    Returns whether it did; if not, the stage has to run
    """
    match shlex.split(stage.cmd) if isinstance(stage.cmd, str) else ():
        case ["python", "-m", "alambique.stage", "evaluate", name] if name.startswith("champion-"):
            champion = EvaluationTarget.parse(name)
        case _:
            return False
    if (project / champion.folder / CARD).exists():
        return False
    with fresh_folder(project / evaluation(name)):
        pass
    write_json(project / evaluation_metrics(name), {"subject": name, "present": False})
    return True
