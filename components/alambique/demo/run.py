"""The main job on an embedded dataset: the real DAGs, by Airflow's own test runner, to a promoted student."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console

from alambique import config
from alambique.demo.demos import DEMOS
from alambique.errors import AlambiqueError, ConfigurationError
from alambique.files import read_json
from alambique.layout import DECISIONS
from alambique.local.services import runner_environment
from alambique.runs.new_project import init
from alambique.runs.results import fetch, show


def demo(project: Path, task: str) -> None:
    """Lay out the demo's project where it is missing, run its DAGs, and say what came out.

    A second run in the same folder trains nothing: it measures the champion that the first one made, and one after it
    ends at once.

    Raises:
        ConfigurationError: the task has no demo, or the folder's project is of another.
        AlambiqueError: a DAG failed.
    """
    if task not in DEMOS:
        raise ConfigurationError(f"there is no demo of a task {task!r}, but of {', '.join(DEMOS)}")
    console = Console()
    begun = time.monotonic()
    console.print(DEMOS[task].setting, highlight=False)
    if not (project / "alambique.yaml").exists():
        console.print(f"Laying out a project in {project}", highlight=False)
        lay_out(project, task)
    elif (other := config.load(project).task) != task:
        raise ConfigurationError(f"{project} holds a project of the task {other}; choose another folder for {task}")
    run_dag(project, "distill")
    fetch(project)
    if read_json(project / DECISIONS)["challengers"]:
        run_dag(project, "promote")
    show(project, console)
    up = "make up" if task == "detect" else f"make up TASK={task}"
    minutes, seconds = divmod(round(time.monotonic() - begun), 60)
    console.print(f"\nDone in {minutes} min {seconds} s. Next:", highlight=False)
    console.print(f"  the report       {project}/report/report.html", highlight=False)
    console.print(f"  {up:<16} Airflow and MLflow on this machine, with this run in them", highlight=False)
    chosen = "" if task == "detect" else f" --task {task}"
    console.print(f"  your own data    .venv/bin/alambique init my-project --data PATH{chosen}", highlight=False)


def lay_out(project: Path, task: str) -> None:
    """Make the demo's dataset and a project around it, which keeps its own copy."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "data"
        DEMOS[task].dataset.write(source)
        overrides = Path(__file__).with_name(f"{task}.yaml")
        init(project, str(source), task, overrides=overrides, origin=None, remote=None)


def run_dag(project: Path, name: str) -> None:
    """Run one of the project's DAGs, in a process whose Airflow is configured for the project."""
    command = [sys.executable, "-m", "alambique.airflow.dag_runner", str(project.absolute()), name]
    environment = {**os.environ, **runner_environment(project)}
    if subprocess.run(command, env=environment, check=False).returncode:
        raise AlambiqueError(f"the {name} DAG of {project} failed; the log named above says why")
