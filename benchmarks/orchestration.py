"""What the pipeline costs beside its stages' own work: `python -m benchmarks.orchestration [--quick]`.

The detection demo runs three times: everything, after its first promotion, and once more. A stage's own seconds are
those of its command, its imports included; the rest of its task is overhead: clone, inputs, cache, MLflow, Airflow.
"""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer
import yaml

from alambique.demo.digits import Scenes
from alambique.demo.run import SCENES, run_dag
from alambique.files import read_json
from alambique.layout import DECISIONS
from alambique.local.services import airflow_environment
from alambique.runs.cli_actions import fetch
from alambique.runs.new_project import init
from benchmarks import common
from benchmarks.common import Row

PARALLEL = 2
"""Tasks at a time, as the demo has it."""

DEMO = Path(__file__).parents[1] / "components/alambique/demo/detect.yaml"
SMALL_SCENES = Scenes(train=24, val=8, test=8, unlabelled=8, size=64, digits=2)
NETWORK = {"family": "yolo26", "scale": [0.34, 0.0625, 256]}
SMALL: dict[str, Any] = {
    "project": "tiny",
    "input_size": 64,
    "runtimes": ["onnx"],
    "int8": [],
    "networks": {"pico": {**NETWORK, "weights": None}},
    "teacher": {"main": {"network": NETWORK, "steps": 3}},
    "training": {"batch": 8},
    "soft_labels": {"shards": [0], "min_score": 0.0, "max_boxes": 5},
    "distill": {"steps": 4, "min_label_probability": 0.0},
    "prune": {"ratio": 0.2, "steps": 4},
    "benchmark": {"runs": 3, "warmup": 1},
    "validation": {"min_boxes_per_class": 0},
    "gates": [{"kind": "at_least", "metric": "map50_95", "value": 0.0}],
}

IMPORT = "import airflow.sdk"
PARSE = f"{IMPORT}, runpy, sys; [runpy.run_path(path) for path in sys.argv[1:]]"


class Task(NamedTuple):
    """A task of a run, as Airflow's database has it.

    Attributes:
        seconds: its wall time.
        own: those of its stage's command; None: it is no stage, or its stage did not run.
    """

    name: str
    seconds: float
    own: float | None


def main(quick: Annotated[bool, typer.Option(help="A tiny project: the figures mean nothing.")] = False) -> None:
    """Measure the demo's runs, and how long its DAG files take to parse."""
    with tempfile.TemporaryDirectory() as folder:
        project = lay_out(Path(folder), quick)
        first = distill(project)
        done = tasks(project)
        if read_json(project / DECISIONS)["challengers"]:
            run_dag(project, "promote")
        second, third = distill(project), distill(project)
        ratios = [parse_over_import(project) for _ in range(1 if quick else 5)]
    common.publish("orchestration", rows(done, first, second, third, ratios), quick=quick, threads=1)


def rows(done: Sequence[Task], first: float, second: float, third: float, ratios: Sequence[float]) -> list[Row]:
    """The benchmark's rows.

    Args:
        done: the first run's tasks.
        first, second, third: seconds of the runs.
        ratios: parsing over importing, one a repetition.
    """
    overheads = {task.name: task.seconds - task.own for task in done if task.own is not None}
    work = sum(task.own for task in done if task.own is not None)
    ideal = work / PARALLEL
    return [
        common.median("task_overhead_s", list(overheads.values()), "≤ 3", tasks=overheads),
        _once("second_run_s", second, "≤ 60"),
        _once("no_change_run_s", third, "≤ 15"),
        common.median("parse_over_import", ratios, "≤ 1.3"),
        Row(
            "run_over_stages",
            first / ideal,
            first / ideal,
            first / ideal,
            1,
            "≤ 1.25",
            {"run_s": first, "work_s": work},
        ),
    ]


def _once(id: str, value: float, goal: str, **details: float) -> Row:
    return Row(id, value, value, value, 1, goal, details)


def lay_out(folder: Path, quick: bool) -> Path:
    """The demo's project, or a tiny one."""
    (SMALL_SCENES if quick else SCENES).write(folder / "scenes")
    overrides = DEMO
    if quick:
        overrides = folder / "overrides.yaml"
        overrides.write_text(yaml.safe_dump(SMALL))
    init(folder / "project", str(folder / "scenes"), "detect", overrides=overrides, origin=None, remote=None)
    return folder / "project"


def distill(project: Path) -> float:
    """Seconds of a run of the distill DAG, as the demo starts it."""
    started = time.monotonic()
    run_dag(project, "distill")
    fetch(project)
    return time.monotonic() - started


def tasks(project: Path) -> list[Task]:
    """The tasks of the newest run of the distill DAG that ran."""
    query = (
        "SELECT task.task_id, task.duration, xcom.value FROM task_instance AS task LEFT JOIN xcom ON"
        " xcom.dag_id = task.dag_id AND xcom.run_id = task.run_id AND xcom.task_id = task.task_id"
        " AND xcom.key = 'return_value' WHERE task.duration IS NOT NULL AND task.state = 'success' AND task.run_id ="
        " (SELECT run_id FROM dag_run WHERE dag_id LIKE '%_distill' ORDER BY id DESC LIMIT 1)"
    )
    with sqlite3.connect(project / ".alambique" / "airflow" / "airflow.db") as database:
        return [
            Task(name, seconds, own_seconds(json.loads(value or "null")))
            for name, seconds, value in database.execute(query)
        ]


def own_seconds(result: Any) -> float | None:
    """Those of a stage's command, if the task's result is that of a stage that ran."""
    ran = isinstance(result, dict) and result.get("found") == "ran"
    return float(result["seconds"]) if ran else None


def parse_over_import(project: Path) -> float:
    """Seconds in which a fresh interpreter parses the project's DAG files, over those for importing Airflow's SDK."""
    files = sorted(str(path) for path in (project / "dags").glob("*.py"))
    return _seconds(project, PARSE, *files) / _seconds(project, IMPORT)


def _seconds(project: Path, code: str, *arguments: str) -> float:
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(project), **airflow_environment(project)}
    started = time.monotonic()
    subprocess.run([sys.executable, "-c", code, *arguments], env=environment, check=True, capture_output=True)
    return time.monotonic() - started


if __name__ == "__main__":
    common.run(main)
