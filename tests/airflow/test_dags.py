"""The DAGs of a project: parsed where no ML library is installed, and the same graph as DVC's."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from airflow_project import SOURCE, environment, lay_out

AROUND = ["snapshot", "register", "gate", "record"]
PICO = yaml.safe_load((SOURCE / "params.yaml").read_text())["networks"]["pico"]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    students = {"students": ["pico", "nano"], "networks": {"pico": PICO, "nano": PICO}}
    return lay_out(tmp_path_factory.mktemp("project"), project="cells", **students)


@pytest.fixture(scope="module")
def parsed(project: Path, base_python: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the base-only environment makes of the project's DAG files."""
    command = [base_python, Path(__file__).with_name("load_dags.py"), project / "dags"]
    home = tmp_path_factory.mktemp("airflow")
    done = subprocess.run(command, env=environment(home, project), stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def tasks(parsed: dict[str, Any]) -> dict[str, Any]:
    return parsed["dags"]["cells_distill"]


def dvc(project: Path, *arguments: str) -> list[str]:
    command = [sys.executable, "-m", "dvc", *arguments]
    return subprocess.run(command, cwd=project, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()


def test_every_dag_parses_without_any_ml_library(parsed: dict[str, Any]) -> None:
    assert parsed["errors"] == {}
    assert set(parsed["dags"]) == {"cells_distill", "cells_promote", "cells_rollback"}
    assert (parsed["installed"], parsed["imported"]) == ([], [])


def test_airflow_knows_the_provider_and_its_page(parsed: dict[str, Any]) -> None:
    assert parsed["provider"]
    assert "Alambique" in parsed["pages"]


def test_there_is_one_task_for_each_stage_dvc_lists(project: Path, tasks: dict[str, Any]) -> None:
    stages = [task["stage"] for task in tasks.values() if task["stage"]]
    assert sorted(stages) == sorted(dvc(project, "stage", "list", "--name-only"))
    assert len(tasks) == len(stages) + len(AROUND)


def test_edges_between_stages_are_those_of_dvc(project: Path, tasks: dict[str, Any]) -> None:
    mermaid = dvc(project, "dag", "--mermaid")
    names = dict(match.groups() for line in mermaid if (match := re.search(r'(node\d+)\["(.+)"\]', line)))
    arrows = [match.groups() for line in mermaid if (match := re.search(r"(node\d+)-->(node\d+)", line))]
    expected = {(names[above], names[below]) for above, below in arrows}

    stage = {task_id: task["stage"] for task_id, task in tasks.items()}
    edges = {(stage[above], stage[below]) for above, task in tasks.items() for below in task["downstream"]}
    assert {(above, below) for above, below in edges if above and below} == expected


def test_every_stage_comes_after_the_snapshot_and_before_the_gate(tasks: dict[str, Any]) -> None:
    stages = {task_id for task_id, task in tasks.items() if task["stage"]}
    assert set(tasks["snapshot"]["downstream"]) == stages | {"register", "gate", "record"}
    for task_id in stages | {"register"}:
        assert "gate" in tasks[task_id]["downstream"]
    assert tasks["gate"]["downstream"] == ["record"]


@pytest.mark.parametrize(
    ("stage", "task_id"),
    [
        ("teacher@main", "teacher-main"),
        ("soft_labels@0", "soft_labels-0"),
        ("distill@pico-0", "pico.distill-0"),
        ("quantize@nano-onnx", "nano.quantize-onnx"),
        ("evaluate_seed@pico-control-0", "pico.evaluate_seed-control-0"),
        ("evaluate_int8@pico-openvino", "pico.evaluate_int8-openvino"),
        ("evaluate_champion@onnx", "evaluate_champion-onnx"),
    ],
)
def test_a_students_stages_are_in_its_group(tasks: dict[str, Any], stage: str, task_id: str) -> None:
    assert tasks[task_id]["stage"] == stage


def test_a_project_that_is_not_one_says_what_is_missing(project: Path, base_python: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    (broken / "dags").mkdir(parents=True)
    (broken / "dags" / "distill.py").write_text((project / "dags" / "distill.py").read_text())
    command = [base_python, Path(__file__).with_name("load_dags.py"), broken / "dags"]
    done = subprocess.run(command, env=environment(tmp_path, broken), stdout=subprocess.PIPE, text=True, check=True)
    (error,) = json.loads(done.stdout.splitlines()[-1])["errors"].values()
    assert "params.yaml" in error
