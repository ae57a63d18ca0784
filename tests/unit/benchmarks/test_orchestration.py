from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from benchmarks.orchestration import Task, own_seconds, rows, tasks

from alambique.files import json_text

DONE = [Task("snapshot", 9.0, None), Task("teacher", 42.0, 40.0), Task("distill", 21.0, 20.0), Task("export", 7.0, 4.0)]


def test_overhead_is_what_a_task_takes_beside_its_stage() -> None:
    found = {row.id: row for row in rows(DONE, first=40.0, second=59.0, third=16.0, ratios=[1.2, 1.1, 1.4])}
    assert found["task_overhead_s"].value == 2.0
    assert found["task_overhead_s"].n == 3
    assert found["run_over_stages"].value == pytest.approx(40 / (64 / 2))
    assert [found[id].met for id in ("second_run_s", "no_change_run_s", "parse_over_import")] == [True, False, True]


def test_only_a_stage_that_ran_has_seconds_of_its_own() -> None:
    assert own_seconds({"found": "ran", "seconds": 3.5}) == 3.5
    assert own_seconds({"found": "store", "seconds": 0.0}) is None
    assert own_seconds({"tag": "runs/r1"}) is None
    assert own_seconds(None) is None


def test_the_tasks_are_those_of_the_newest_distillation(tmp_path: Path) -> None:
    (tmp_path / ".alambique/airflow").mkdir(parents=True)
    with sqlite3.connect(tmp_path / ".alambique/airflow/airflow.db") as database:
        database.execute("CREATE TABLE dag_run (id, dag_id, run_id)")
        database.execute("CREATE TABLE task_instance (dag_id, run_id, task_id, state, duration)")
        database.execute("CREATE TABLE xcom (dag_id, run_id, task_id, key, value)")
        runs = [(1, "d_distill", "old"), (2, "d_distill", "new"), (3, "d_promote", "newest")]
        database.executemany("INSERT INTO dag_run VALUES (?, ?, ?)", runs)
        for _, dag, run in runs:
            instances = [(dag, run, "teacher", "success", 9.0), (dag, run, "skipped", "skipped", None)]
            database.executemany("INSERT INTO task_instance VALUES (?, ?, ?, ?, ?)", instances)
            value = json_text({"found": "ran", "seconds": 8.0 if run == "new" else 1.0})
            database.execute("INSERT INTO xcom VALUES (?, ?, ?, ?, ?)", (dag, run, "teacher", "return_value", value))
    assert tasks(tmp_path) == [Task("teacher", 9.0, 8.0)]
