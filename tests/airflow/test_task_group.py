from __future__ import annotations

import json
from pathlib import Path

from airflow.sdk import DAG

from alambique.airflow.operators.runs import SnapshotOperator


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
