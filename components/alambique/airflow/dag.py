"""The DAGs. Their files in a project name the project and the schedule; everything else is here."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, Param

from alambique.airflow.operators import (
    GateOperator,
    PromoteOperator,
    RecordOperator,
    RegisterOperator,
    RollbackOperator,
    SnapshotOperator,
)
from alambique.airflow.project import Project
from alambique.airflow.task_group import AlambiqueTaskGroup

# Of transient errors: permanent ones fail at once.
RETRIES: dict[str, Any] = {
    "retries": 3,
    "retry_delay": timedelta(seconds=30),
    "retry_exponential_backoff": 2,
    "max_retry_delay": timedelta(minutes=15),
}


class DistillDag(DAG):
    """snapshot → the stages of dvc.yaml → register → gate → record, which announces a challenger if there is one.

    Args:
        root: the project's root.
        schedule: as Airflow's.
        arguments: of Airflow's DAG; `dag_id` is <project>_distill.
    """

    def __init__(self, root: Path, *, schedule: Any = None, **arguments: Any) -> None:
        project = Project.load(root)
        branch = Param(project.deployment.branch, type="string", description="The branch to start from and record on.")
        super().__init__(
            **_arguments(project, "distill", arguments),
            schedule=schedule,
            description=f"Distill, compress and judge the students of {project.name}",
            params={"branch": branch},
        )
        deployment = project.deployment.model_copy(update={"branch": "{{ params.branch }}"})
        with self:
            _distill(replace(project, deployment=deployment))


class PromoteDag(DAG):
    """Makes an announced challenger champion; by hand, those of the recorded run that the param `tag` names.

    Args:
        root: the project's root.
        arguments: of Airflow's DAG; `dag_id` is <project>_promote.
    """

    def __init__(self, root: Path, **arguments: Any) -> None:
        project = Project.load(root)
        tag = Param("", type="string", description="The tag of a recorded run; empty: of the announced challenger.")
        super().__init__(
            **_arguments(project, "promote", arguments),
            schedule=project.challenger,
            description=f"Make the challengers of {project.name} champions",
            params={"tag": tag},
        )
        with self:
            PromoteOperator(task_id="promote", deployment=project.deployment, tag="{{ params.tag }}")


class RollbackDag(DAG):
    """Makes the previous champion of the param `model` its champion again. Started by hand only.

    Args:
        root: the project's root.
        arguments: of Airflow's DAG; `dag_id` is <project>_rollback.
    """

    def __init__(self, root: Path, **arguments: Any) -> None:
        project = Project.load(root)
        model = Param(project.models[0], type="string", enum=project.models, description="The registered model.")
        super().__init__(
            **_arguments(project, "rollback", arguments),
            schedule=None,
            description=f"Bring back the previous champion of a model of {project.name}",
            params={"model": model},
        )
        with self:
            RollbackOperator(task_id="rollback", deployment=project.deployment, model="{{ params.model }}")


def _arguments(project: Project, verb: str, given: dict[str, Any]) -> dict[str, Any]:
    """What all DAGs share, under what the user gives: one run at a time, since each moves the same refs."""
    shared = {"dag_id": f"{project.name}_{verb}", "max_active_runs": 1, "catchup": False, "tags": {project.name}}
    return {**shared, **given, "default_args": {**RETRIES, **given.get("default_args", {})}}


def _distill(project: Project) -> None:
    here = {"deployment": project.deployment}
    run = SnapshotOperator(task_id="snapshot", digest=project.graph.digest, **here).output
    stages = AlambiqueTaskGroup(project, run, prefix_group_id=False).results
    registered = RegisterOperator(task_id="register", run=run, stages=stages, **here).output
    decisions = GateOperator(task_id="gate", run=run, stages=stages, registered=registered, **here).output
    RecordOperator(task_id="record", run=run, stages=stages, decisions=decisions, challenger=project.challenger, **here)
