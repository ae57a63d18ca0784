"""The main job on the embedded dataset: the real DAGs, by Airflow's own test runner, to a promoted student."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console

from alambique.demo.scenes import Scenes
from alambique.errors import AlambiqueError
from alambique.files import read_json
from alambique.layout import DECISIONS
from alambique.local import airflow_environment
from alambique.project import init
from alambique.results import fetch, show

SCENES = Scenes(train=160, val=40, test=200, unlabelled=640)

SETTING = (
    f"Handwritten digits in scenes of {SCENES.size} px, {SCENES.train} labelled and {SCENES.unlabelled} unlabelled. "
    "The teacher is a YOLO26n trained on the labelled scenes. The student has a quarter of its parameters and learns "
    "from the labels and, where there are none, from the teacher's soft labels; its control sees the labels alone, "
    "from the same start and for as many steps.\n"
)


def demo(project: Path) -> None:
    """Lay out the demo's project where it is missing, run its DAGs, and say what came out.

    Args:
        project: the project's folder. A second run there trains nothing: it measures the champion that the first one
            made, and one after it ends at once.
    Raises:
        AlambiqueError: a DAG failed.
    """
    console = Console()
    begun = time.monotonic()
    console.print(SETTING, highlight=False)
    if not (project / "alambique.yaml").exists():
        console.print(f"Laying out a project in {project}", highlight=False)
        lay_out(project)
    run_dag(project, "distill")
    fetch(project)
    if read_json(project / DECISIONS)["challengers"]:
        run_dag(project, "promote")
    show(project, console)
    minutes, seconds = divmod(round(time.monotonic() - begun), 60)
    console.print(f"\nDone in {minutes} min {seconds} s. Next:", highlight=False)
    console.print(f"  the report       {project}/report/report.html", highlight=False)
    console.print("  make up          Airflow and MLflow on this machine, with this run in them", highlight=False)
    console.print("  your own data    .venv/bin/alambique init my-project --data PATH", highlight=False)


def lay_out(project: Path) -> None:
    """Make the demo's dataset and a project around it, which keeps its own copy."""
    with tempfile.TemporaryDirectory() as folder:
        scenes = Path(folder) / "scenes"
        SCENES.write(scenes)
        init(
            project, str(scenes), "detect", overrides=Path(__file__).with_name("params.yaml"), origin=None, remote=None
        )


def run_dag(project: Path, name: str) -> None:
    """Run one of the project's DAGs by `dag.test()`, in a process whose Airflow is configured for the project."""
    command = [sys.executable, "-m", "alambique.airflow.testrun", str(project.absolute()), name]
    if subprocess.run(command, env={**os.environ, **airflow_environment(project)}, check=False).returncode:
        raise AlambiqueError(f"the {name} DAG of {project} failed; the log named above says why")
