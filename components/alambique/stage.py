"""`python -m alambique.stage NAME ARGUMENTS`, as dvc.yaml calls every stage, in the project's folder."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alambique.errors import ConfigurationError
from alambique.process.environment import configure_logging, errors_exit, prepare
from alambique.process.resume_dir import kept_on_laptop

STAGES = (
    "validate",
    "teacher",
    "soft_labels",
    "distill",
    "control",
    "ablation",
    "search",
    "prune",
    "export",
    "quantize",
    "evaluate",
    "benchmark",
    "compare",
)


def run(project: Path, *command: str) -> None:
    """Run one stage of the project.

    Args:
        command: the stage's name and its arguments.
    Raises:
        ConfigurationError: no such stage, or other arguments than it takes.
    """
    name, *arguments = command or ("",)
    if name not in STAGES:
        raise ConfigurationError(f"there is no stage {name!r}; the stages are {', '.join(STAGES)}")
    prepare()
    stage = importlib.import_module(f"alambique.stages.{name}").run
    takes = list(inspect.signature(stage).parameters)[1:]
    if len(takes) != len(arguments):
        raise ConfigurationError(f"stage {name} takes {takes or 'no arguments'}, got {arguments}")
    configure_logging()
    address = os.environ.get("DVC_STAGE", name)
    with _tracked_on_laptop(project, address), kept_on_laptop(project, address):
        stage(project, *arguments)


@contextmanager
def _tracked_on_laptop(project: Path, address: str) -> Iterator[None]:
    """Under plain `dvc repro`, have the same child run in MLflow as under Airflow, where the runner has it."""
    from alambique.pipeline import graph
    from alambique.registry.tracking import laptop_run

    with laptop_run(project, address) as child:
        yield
        if child.run_id:
            child.log_outputs(project, list(graph.read(project).stages[address].outs))


if __name__ == "__main__":
    with errors_exit():
        run(Path.cwd(), *sys.argv[1:])
