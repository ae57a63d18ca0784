from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
from airflow.sdk import DAG

from alambique.airflow.operators.runs import SnapshotOperator
from alambique.errors import ConfigurationError


def test_the_stages_fit_into_a_dag_of_ones_own(tmp_path: Path) -> None:
    from factories.airflow_project import lay_out

    from alambique.airflow import AlambiqueTaskGroup, Project

    changes = {"runtimes": ["onnx"], "int8": ["onnx"], "ablations": ["start", "labelled"]}
    project = Project.load(lay_out(tmp_path / "project", project="cells", **changes))
    with DAG("mine") as dag:
        snapshot = SnapshotOperator(task_id="start", deployment=project.deployment, digest=project.graph.digest)
        group = AlambiqueTaskGroup(project, snapshot.output, group_id="vision")
    assert set(group.results) == set(project.graph.stages)
    assert dag.get_task("vision.pico.distill-0").upstream_task_ids >= {"start", "vision.soft_labels-0"}
    assert dag.get_task("vision.pico.ablation-start-0").downstream_task_ids == {
        "vision.pico.evaluate_ablation-start-0",
        "vision.compare",
    }
    json.dumps([task.deployment for task in dag.tasks])  # templated fields are stored as JSON


def test_a_task_has_the_resources_of_its_stage(tmp_path: Path) -> None:
    from factories.airflow_project import lay_out

    from alambique.airflow import DistillDag

    entries = {"default": {"retries": 1}, "teacher": {"queue": "gpu", "pool": "trainings", "timeout_hours": 12}}
    dag = DistillDag(lay_out(tmp_path / "project", deployment={"resources": entries}, project="cells"))
    teacher, validate, gate = (dag.get_task(name) for name in ("teacher-main", "validate", "gate"))
    assert (teacher.queue, teacher.pool, teacher.execution_timeout) == ("gpu", "trainings", timedelta(hours=12))
    assert (validate.queue, validate.execution_timeout) == ("default", None)
    assert [task.retries for task in (teacher, validate, gate)] == [1, 1, 1]


def test_resources_of_no_stage_are_refused(tmp_path: Path) -> None:
    from factories.airflow_project import lay_out

    from alambique.airflow import Project

    root = lay_out(tmp_path / "project", deployment={"resources": {"techer": {"gpus": 1}}})
    with pytest.raises(ConfigurationError, match=r"resources\.techer is no stage .* teacher, validate"):
        Project.load(root)


def test_with_pods_each_stage_is_a_pod(tmp_path: Path) -> None:
    from airflow.serialization.serialized_objects import DagSerialization
    from factories.airflow_project import lay_out

    from alambique.airflow import DistillDag
    from alambique.airflow.operators.pods import StagePodOperator

    image = "ghcr.io/me/alambique@sha256:" + "0" * 64
    root = lay_out(tmp_path / "project", deployment={"pods": {"image": image}}, project="cells")
    dag = DistillDag(root)
    stages = {task.task_id for task in dag.tasks if isinstance(task, StagePodOperator)}
    assert {"validate", "teacher-main", "pico.distill-0", "compare"} <= stages
    assert {"snapshot", "gate", "record"}.isdisjoint(stages)
    scheduled = DagSerialization.deserialize_dag(DagSerialization.serialize_dag(dag))
    assert scheduled.get_task("pico.distill-0").upstream_task_ids >= {"soft_labels-0"}
