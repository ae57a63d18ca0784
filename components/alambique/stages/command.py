"""`python -m alambique stage NAME ARGUMENTS`, as every stage of dvc.yaml is called."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path

from alambique.errors import ConfigurationError
from alambique.stages.environment import prepare

STAGES = (
    "validate",
    "teacher",
    "soft_labels",
    "distill",
    "control",
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
    from alambique.registry.tracking import laptop_run

    with laptop_run(project, "@".join((name, "-".join(arguments))).rstrip("@")):
        stage(project, *arguments)
