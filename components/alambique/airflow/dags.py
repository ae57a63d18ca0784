"""The DAGs, with the stages of dvc.yaml as tasks. Their files in a project name the project and the schedule.

Each takes the project's `root`, and further arguments of Airflow's DAG; `dag_id` is <project>_<what it does>.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import DAG, BaseNotifier, Param, TaskGroup, XComArg

from alambique.airflow import forms
from alambique.airflow.operators.base import task_arguments
from alambique.airflow.operators.data import DriftOperator, IngestOperator
from alambique.airflow.operators.promotion import (
    PromoteApprovedOperator,
    PromoteOperator,
    ProposeOperator,
    PublishOperator,
    RollbackOperator,
)
from alambique.airflow.operators.retraining import ChangesOperator, CooldownOperator
from alambique.airflow.operators.runs import (
    EndOperator,
    GateOperator,
    RecordOperator,
    RegisterOperator,
    SnapshotOperator,
    StageOperator,
    UnchangedOperator,
)
from alambique.airflow.project import Project
from alambique.config.resources import RETRIES, RETRY_FACTOR, RETRY_SECONDS, RETRY_SECONDS_AT_MOST
from alambique.errors import ConfigurationError

if TYPE_CHECKING:
    from alambique.airflow.operators.pods import StagePodOperator

# Of transient errors: permanent ones fail at once.
RETRYING: dict[str, Any] = {
    "retries": RETRIES,
    "retry_delay": timedelta(seconds=RETRY_SECONDS),
    "retry_exponential_backoff": RETRY_FACTOR,
    "max_retry_delay": timedelta(seconds=RETRY_SECONDS_AT_MOST),
}


class IngestDag(DAG):
    """Merges new data into the dataset when some arrives; does nothing unless alambique.yaml says where, `arrivals`.

    Airflow looks there every `interval` seconds.
    """

    def __init__(self, root: Path, *, interval: float = 60, **arguments: Any) -> None:
        project = Project.load(root)
        where = project.deployment.arrivals
        does = f"Merge what arrives at {where} into the dataset of {project.name}"
        super().__init__(
            **_arguments(project, "ingest", arguments),
            schedule=project.arrivals(interval) if where else None,
            description=does if where else f"Idle: set `arrivals` in alambique.yaml of {project.name}",
        )
        with self:
            IngestOperator(task_id="ingest", deployment=project.deployment, asset=project.data)


class WatchDriftDag(DAG):
    """Looks for drift in production images; does nothing unless alambique.yaml says where they are, `production`."""

    def __init__(self, root: Path, *, schedule: Any = "@hourly", **arguments: Any) -> None:
        project = Project.load(root)
        where = project.deployment.production
        does = f"Compare the images at {where} with what the champions of {project.name} were trained on"
        super().__init__(
            **_arguments(project, "watch_drift", arguments),
            schedule=schedule if where else None,
            description=does if where else f"Idle: set `production` in alambique.yaml of {project.name}",
        )
        with self:
            DriftOperator(task_id="drift", deployment=project.deployment, asset=project.drift)


class DistillDag(DAG):
    """cooldown → snapshot → changes → the stages of dvc.yaml → register → gate → record, which may name a challenger.

    A run that asset events started waits for the cooldown; one for which nothing changed ends at `no_new_data`. A task
    that fails leaves the rest to `end`.
    """

    def __init__(self, root: Path, *, schedule: Any = None, **arguments: Any) -> None:
        project = Project.load(root)
        params = {
            "branch": forms.branch(project.deployment.branch),
            "force": Param(False, type="boolean", description="Run even though nothing changed."),
        }
        super().__init__(
            **_arguments(project, "distill", arguments),
            schedule=schedule,
            description=f"Distill, compress and judge the students of {project.name}",
            params=params,
        )
        deployment = project.deployment.model_copy(update={"branch": "{{ params.branch }}"})
        with self:
            _distill(replace(project, deployment=deployment))


class PromoteDag(DAG):
    """Makes a challenger champion; started by hand, those of the recorded run that the param `tag` names.

    With `promotion.policy: approval` in params.yaml a person is asked first, in Airflow's UI, and `notifiers`, such as
    Airflow's `SmtpNotifier`, are called.
    """

    def __init__(self, root: Path, *, notifiers: Sequence[BaseNotifier] = (), **arguments: Any) -> None:
        project = Project.load(root)
        asks = project.params.promotion.policy == "approval"
        # Who has not answered yet must not keep the next from being asked.
        runs = {"max_active_runs": 100} if asks else {}
        super().__init__(
            **_arguments(project, "promote", {**runs, **arguments}),
            schedule=project.challenger,
            description=f"Make the challengers of {project.name} champions",
            params={"tag": forms.tag()},
        )
        with self:
            if asks:
                promoted = _approved(project, notifiers)
            else:
                promoted = PromoteOperator(task_id="promote", deployment=project.deployment, tag=TAG).output
            _publish(project, promoted)


class RollbackDag(DAG):
    """Makes the previous champion of the param `model` its champion again. Started by hand only."""

    def __init__(self, root: Path, **arguments: Any) -> None:
        project = Project.load(root)
        params = {
            "model": Param(project.models[0], type="string", enum=project.models, description="The registered model."),
            "why": forms.why(),
        }
        super().__init__(
            **_arguments(project, "rollback", arguments),
            schedule=None,
            description=f"Bring back the previous champion of a model of {project.name}",
            params=params,
        )
        with self:
            back = RollbackOperator(
                task_id="rollback",
                deployment=project.deployment,
                model="{{ params.model }}",
                why="{{ params.why or '' }}",
            )
            _publish(project, back.output)


def _arguments(project: Project, verb: str, given: dict[str, Any]) -> dict[str, Any]:
    """What all DAGs share, under what the user gives: one run at a time, since each moves the same refs."""
    shared = {"dag_id": f"{project.name}_{verb}", "max_active_runs": 1, "catchup": False, "tags": {project.name}}
    defaults = {**RETRYING, **task_arguments(project.resources()), **given.get("default_args", {})}
    return {**shared, **given, "default_args": defaults}


def _distill(project: Project) -> None:
    here = {"deployment": project.deployment}
    cooldown = CooldownOperator(task_id="cooldown", hours=project.params.retraining.cooldown_hours, **here)
    snapshot = SnapshotOperator(task_id="snapshot", digest=project.graph.digest, **here)
    run = snapshot.output
    changes = ChangesOperator(task_id="changes", graph=project.graph, run=run, unchanged="no_new_data", **here)
    cooldown >> snapshot
    unchanged = UnchangedOperator(task_id="no_new_data", run=run, **here)
    changes >> unchanged
    group = AlambiqueTaskGroup(project, run, prefix_group_id=False)
    stages = group.results
    changes >> group  # its first stages; a stage after one that was skipped is skipped
    registered = RegisterOperator(task_id="register", run=run, stages=stages, **here).output
    decisions = GateOperator(task_id="gate", run=run, stages=stages, registered=registered, **here).output
    record = RecordOperator(
        task_id="record", run=run, stages=stages, decisions=decisions, asset=project.challenger, **here
    )
    end = EndOperator(task_id="end", run=run, **here).as_teardown()
    [record, unchanged] >> end


TAG = "{{ params.tag or '' }}"


def _approved(project: Project, notifiers: Sequence[BaseNotifier]) -> XComArg:
    """propose → approve → promote; a rejection, or no answer in time, skips what follows, and the run succeeds."""
    proposal = ProposeOperator(task_id="propose", deployment=project.deployment, tag=TAG).output
    approve = ApprovalOperator(
        task_id="approve",
        subject="{{ ti.xcom_pull('propose').subject }}",
        body="{{ ti.xcom_pull('propose').body }}",
        params={"why": forms.why()},
        notifiers=notifiers,
        response_timeout=timedelta(hours=project.params.promotion.timeout_hours),
        defaults=ApprovalOperator.REJECT,
    )
    proposal >> approve
    return PromoteApprovedOperator(
        task_id="promote",
        deployment=project.deployment,
        proposal=proposal,
        approval=approve.output,
        max_active_tis_per_dag=1,  # two approvals at once would race for MLflow's aliases
    ).output


def _publish(project: Project, promoted: XComArg) -> None:
    if project.deployment.releases:
        PublishOperator(task_id="publish", deployment=project.deployment, promoted=promoted)


class AlambiqueTaskGroup(TaskGroup):
    """A task for each expanded stage and an edge for each dependency between them.

    Each student's stages are a task group of their own: `distill@pico` is the task `pico.distill`, `quantize@pico-onnx`
    is `pico.quantize-onnx`, and `soft_labels@0` is `soft_labels-0`.

    Attributes:
        results: every stage's output, by the stage's name.
    """

    def __init__(self, project: Project, run: XComArg, group_id: str = "stages", **kwargs: Any) -> None:
        super().__init__(group_id=group_id, **kwargs)
        self.results: dict[str, XComArg] = {}
        operator = _stage_operator(project)
        with self:
            groups = {student: TaskGroup(student) for student in project.params.students}
            for stage in project.graph.stages:  # producers come first
                student, task_id = place(stage, groups)
                self.results[stage] = operator(
                    task_id=task_id,
                    task_group=groups[student] if student else self,
                    deployment=project.deployment,
                    graph=project.graph,
                    stage=stage,
                    run=run,
                    upstream={producer: self.results[producer] for producer in project.graph.upstream(stage)},
                    resources=project.resources(stage),
                ).output


def _stage_operator(project: Project) -> type[StageOperator | StagePodOperator]:
    if project.deployment.pods is None:
        return StageOperator
    try:
        from alambique.airflow.operators.pods import StagePodOperator
    except ImportError as error:
        raise ConfigurationError(
            f"alambique.yaml: pods need Airflow's Kubernetes provider ({error}); run "
            '`pip install "alambique[kubernetes]"`'
        ) from None
    return StagePodOperator


def place(stage: str, students: Collection[str]) -> tuple[str | None, str]:
    """The student whose group a stage belongs to, if any, and the task's name: task ids have no @."""
    kind, _, item = stage.partition("@")
    first, _, rest = item.partition("-")
    student, label = (first, rest) if first in students else (None, item)
    return student, f"{kind}-{label}" if label else kind
