"""`python -m alambique stage NAME ARGUMENTS`, as every stage of dvc.yaml is called."""

from __future__ import annotations

import importlib
import inspect
import os
from collections.abc import Callable
from pathlib import Path

from alambique.errors import ConfigurationError
from alambique.process.environment import prepare, speak
from alambique.process.resume_dir import kept_on_laptop

STAGES = (
    "validate",
    "teacher",
    "soft_labels",
    "distill",
    "control",
    "search",
    "prune",
    "export",
    "quantize",
    "evaluate",
    "benchmark",
    "compare",
)


def run(project: Path, name: str, *arguments: str) -> None:
    """Run one stage of the project.

    Raises:
        ConfigurationError: no such stage, or other arguments than it takes.
    """
    if name not in STAGES:
        raise ConfigurationError(f"there is no stage {name!r}; the stages are {', '.join(STAGES)}")
    prepare()
    stage = importlib.import_module(f"alambique.stages.{name}").run
    takes = list(inspect.signature(stage).parameters)[1:]
    if len(takes) != len(arguments):
        raise ConfigurationError(f"stage {name} takes {takes or 'no arguments'}, got {list(arguments)}")
    speak()
    _tracked(project, os.environ.get("DVC_STAGE", name), lambda: stage(project, *arguments))


def _tracked(project: Path, address: str, work: Callable[[], None]) -> None:
    """Do the work, with the same child run in MLflow, and as resumable, under plain `dvc repro` as under Airflow."""
    from alambique.pipeline import graph
    from alambique.registry.tracking import laptop_run

    with laptop_run(project, address) as child, kept_on_laptop(project, address):
        work()
        if child.run_id:
            child.log_outputs(project, list(graph.read(project).stages[address].outs))
