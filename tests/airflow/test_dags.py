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
from factories.airflow_project import SOURCE, environment, lay_out

AROUND = ["cooldown", "snapshot", "changes", "no_new_data", "register", "gate", "record", "end"]
PICO = yaml.safe_load((SOURCE / "params.yaml").read_text())["networks"]["pico"]
LIVING = {"arrivals": "s3://lab/new", "production": "s3://lab/field", "releases": "s3://lab/out"}


def parse(project: Path, python: Path, home: Path) -> dict[str, Any]:
    """What an environment makes of the project's DAG files."""
    command = [python, Path(__file__).with_name("load_dags.py"), project / "dags"]
    done = subprocess.run(command, env=environment(home, project), stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    students = {"students": ["pico", "nano"], "networks": {"pico": PICO, "nano": PICO}}
    return lay_out(tmp_path_factory.mktemp("project"), project="cells", **students)


@pytest.fixture(scope="module")
def parsed(project: Path, base_python: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the base-only environment makes of the project's DAG files."""
    return parse(project, base_python, tmp_path_factory.mktemp("airflow"))


@pytest.fixture(scope="module")
def living(base_python: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The DAGs of a project to which data arrives, and in which a person promotes."""
    asks = {"policy": "approval", "timeout_hours": 2.0, "objective": "latency"}
    root = lay_out(tmp_path_factory.mktemp("living"), deployment=LIVING, project="cells", promotion=asks)
    found = parse(root, base_python, tmp_path_factory.mktemp("airflow"))
    assert found["errors"] == {}
    return found["dags"]


@pytest.fixture(scope="module")
def tasks(parsed: dict[str, Any]) -> dict[str, Any]:
    return parsed["dags"]["cells_distill"]["tasks"]


def dvc(project: Path, *arguments: str) -> list[str]:
    command = [sys.executable, "-m", "dvc", *arguments]
    return subprocess.run(command, cwd=project, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()


def test_every_dag_parses_without_any_ml_library(parsed: dict[str, Any]) -> None:
    assert parsed["errors"] == {}
    verbs = ("distill", "ingest", "promote", "rollback", "watch_drift")
    assert set(parsed["dags"]) == {f"cells_{verb}" for verb in verbs}
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
    assert set(tasks["snapshot"]["downstream"]) == stages | {*AROUND[2:]}
    for task_id in stages | {"register"}:
        assert "gate" in tasks[task_id]["downstream"]
    assert tasks["gate"]["downstream"] == ["record"]


def test_the_end_comes_after_all_others_and_does_not_count_for_the_run(tasks: dict[str, Any]) -> None:
    assert [task_id for task_id, task in tasks.items() if task["teardown"]] == ["end"]
    assert tasks["end"]["downstream"] == []
    assert "end" in tasks["record"]["downstream"] and "end" in tasks["no_new_data"]["downstream"]


def test_every_text_of_a_form_has_a_length_and_a_pattern(parsed: dict[str, Any], living: dict[str, Any]) -> None:
    texts = {
        f"{dag} {name}": schema
        for dags in (parsed["dags"], living)
        for dag, content in dags.items()
        for name, schema in content["forms"].items()
        if "string" in schema["type"] and "enum" not in schema
    }
    assert {name.split()[1] for name in texts} == {"branch", "tag", "why"}
    for name, schema in texts.items():
        assert schema["maxLength"] <= 2000 and schema["pattern"], name
    branch = texts["cells_distill branch"]["pattern"]
    assert re.search(branch, "feature/x") and not re.search(branch, "--pathspec-from-file=/etc/passwd")


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


def test_a_run_waits_before_its_snapshot_and_its_first_stage_comes_after_the_look_for_changes(
    tasks: dict[str, Any],
) -> None:
    assert tasks["cooldown"]["downstream"] == ["snapshot"]
    assert tasks["changes"]["downstream"] == ["no_new_data", "validate"]


def test_a_distillation_starts_by_time_by_new_data_and_by_drift(parsed: dict[str, Any]) -> None:
    distill = parsed["dags"]["cells_distill"]
    assert (distill["schedule"], distill["assets"]) == ("AssetOrTimeSchedule", ["cells_data", "cells_drift"])
    assert distill["params"] == {"branch": "main", "force": False}


def test_where_nothing_arrives_the_dags_are_idle_and_say_so(parsed: dict[str, Any]) -> None:
    for verb, key in (("ingest", "arrivals"), ("watch_drift", "production")):
        dag = parsed["dags"][f"cells_{verb}"]
        assert dag["schedule"] == "NullTimetable"
        assert f"set `{key}` in alambique.yaml" in dag["description"]


def test_new_data_is_watched_for_and_drift_is_looked_for(living: dict[str, Any]) -> None:
    assert living["cells_ingest"]["assets"] == ["cells_arrivals"]
    (trigger,) = living["cells_ingest"]["watched"]
    assert trigger["classpath"] == "alambique.airflow.triggers.arrivals.ArrivalsTrigger"
    assert (trigger["kwargs"]["interval"], trigger["kwargs"]["deployment"]["arrivals"]) == (60, "s3://lab/new")
    assert living["cells_watch_drift"]["schedule"] == "CronTriggerTimetable"


def test_an_automatic_promotion_asks_nobody(parsed: dict[str, Any]) -> None:
    promote = parsed["dags"]["cells_promote"]
    assert set(promote["tasks"]) == {"promote"}
    assert (promote["assets"], promote["runs"]) == (["cells_challenger"], 1)


def test_under_approval_a_person_is_asked_between_proposal_and_promotion(living: dict[str, Any]) -> None:
    tasks = living["cells_promote"]["tasks"]
    assert {name: task["downstream"] for name, task in tasks.items()} == {
        "propose": ["approve", "promote"],
        "approve": ["promote"],
        "promote": ["publish"],
        "publish": [],
    }


def test_those_who_have_not_answered_do_not_keep_the_next_from_being_asked(living: dict[str, Any]) -> None:
    assert living["cells_promote"]["runs"] > 16


def test_a_rollback_reaches_devices_too(parsed: dict[str, Any], living: dict[str, Any]) -> None:
    assert set(parsed["dags"]["cells_rollback"]["tasks"]) == {"rollback"}
    assert living["cells_rollback"]["tasks"]["rollback"]["downstream"] == ["publish"]


def test_a_project_that_is_not_one_says_what_is_missing(project: Path, base_python: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    (broken / "dags").mkdir(parents=True)
    (broken / "dags" / "distill.py").write_text((project / "dags" / "distill.py").read_text())
    (error,) = parse(broken, base_python, tmp_path)["errors"].values()
    assert "params.yaml" in error
