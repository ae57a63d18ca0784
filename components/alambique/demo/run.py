"""The main job on a task's embedded dataset: the real DAGs, by Airflow's test runner, to a promoted student."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from rich.console import Console

from alambique import config
from alambique.config import read_yaml
from alambique.demo import teacher
from alambique.demo.digits import Digits, Scenes
from alambique.demo.texts import GRAMMAR, Intents, Stories
from alambique.errors import AlambiqueError, ConfigurationError
from alambique.files import read_json, sha256
from alambique.layout import DECISIONS
from alambique.local.services import runner_environment
from alambique.runs.cli_actions import fetch, show
from alambique.runs.new_project import init


class Demo(NamedTuple):
    """A task's demo: a dataset that `Task.import_dataset` takes, and a description for the person who waits for it."""

    dataset: Digits | Intents | Scenes | Stories
    setting: str


SCENES = Scenes(train=40, val=40, test=200, unlabelled=760)
DIGITS = Digits(train=200, val=100, test=500, unlabelled=800)
STORIES = Stories()
ASKED = Intents()

DEMOS = {
    "detect": Demo(
        SCENES,
        f"Handwritten digits in scenes of {SCENES.size} px, {SCENES.train} labelled and {SCENES.unlabelled:,} "
        f"unlabelled. The teacher is a YOLO26n that was trained elsewhere, on {teacher.SCENES.train} labelled scenes: "
        "this demo trains it first. The student has a quarter of its parameters. It starts from the teacher, narrowed, "
        "and learns from the labels and, where there are none, from the teacher's soft labels; its control, the best "
        "that is to be had without the teacher, starts from scratch and learns from the labels alone, for as many "
        "steps at most.\n",
    ),
    "classify": Demo(
        DIGITS,
        f"Handwritten digits, {DIGITS.size} px, {DIGITS.train} labelled and {DIGITS.unlabelled} unlabelled. The "
        "teacher is a ResNet of ten layers, trained on the labelled ones. The student, a YOLO26n classifier of a "
        "third of its size, learns from the labels and from the teacher's probabilities in five views of every "
        "picture; its control sees the labels alone, from the same start and for as many steps.\n",
    ),
    "text": Demo(
        STORIES,
        f"Tiny stories from a grammar: {STORIES.train + STORIES.unlabelled:,} to learn from, {STORIES.test} to be "
        "measured on. The teacher is a small Llama trained on them. The student has a quarter of its parameters, "
        "starts from the teacher, narrowed, and learns from the stories and from the teacher's probabilities of each "
        "next token; its control starts from scratch and sees the stories alone, for as many steps.\n",
    ),
    "text_classify": Demo(
        ASKED,
        f"Questions to a bank made by a grammar, of {len(GRAMMAR.intents)} intents: {ASKED.train} labelled, "
        f"{ASKED.unlabelled:,} unlabelled. The teacher is a BERT trained on the labelled ones. The student has a "
        "fifth of its parameters, starts from the teacher, narrowed, and learns from the labels and from the teacher's "
        "probabilities of the classes of every question; its control starts from scratch and sees the labels alone, "
        "for as many steps.\n",
    ),
}


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
    settings = read_yaml(Path(__file__).with_name(f"{task}.yaml"))
    if task == "detect":
        settings["teacher"]["main"] |= fetched(project.absolute().with_name(f"{project.name}-teacher.pt"))
    with tempfile.TemporaryDirectory() as folder:
        source, overrides = Path(folder) / "data", Path(folder) / "overrides.yaml"
        DEMOS[task].dataset.write(source)
        overrides.write_text(yaml.safe_dump(settings))
        init(project, str(source), task, overrides=overrides, origin=None, remote=None)


def fetched(weights: Path) -> dict[str, Any]:
    """The section of a teacher whose weights are `weights`; trains it where there is none from an earlier demo.

    Raises:
        AlambiqueError: its training failed.
    """
    if not weights.exists():
        Console().print(f"Training the teacher, {weights}", highlight=False)
        command = [sys.executable, "-m", "alambique.demo.teacher", str(weights)]
        if subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False).returncode:
            raise AlambiqueError("the demo's teacher could not be trained; the lines above say why")
    return {"source": "fetch", "weights": str(weights), "sha256": sha256(weights)}


def run_dag(project: Path, name: str) -> None:
    """Run one of the project's DAGs, in a process whose Airflow is configured for the project."""
    command = [sys.executable, "-m", "alambique.airflow.dag_runner", str(project.absolute()), name]
    environment = {**os.environ, **runner_environment(project)}
    if subprocess.run(command, env=environment, check=False).returncode:
        raise AlambiqueError(f"the {name} DAG of {project} failed; the log named above says why")
