"""Trainings that ended at their ceiling of steps while val was still improving, and what to raise."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path

from alambique.config import Params
from alambique.evaluation.leaderboard import Ceiling, Leaderboard
from alambique.files import read_json
from alambique.layout import METRICS


def still_improving(project: Path, params: Params) -> dict[str, Ceiling]:
    """By the key of params.yaml that bounds them, the trainings whose metrics say so; see `tasks.intervals`."""
    students = [f"{student}-{seed}" for student in params.students for seed in params.seeds]
    ablations = product(params.students, params.ablations, params.seeds)
    keys = {f"teacher.{name}.steps": (params.teacher[name].steps, [f"teacher/{name}"]) for name in params.teachers}
    keys["distill.steps"] = (
        params.distill.steps,
        [f"{stage}/{student}" for stage in ("distill", "control") for student in students]
        + [f"ablation/{student}-{arm}-{seed}" for student, arm, seed in ablations],
    )
    keys["prune.steps"] = (params.prune.steps, [f"prune/{student}" for student in params.students])
    reached = {}
    for key, (steps, trainings) in keys.items():
        if names := [name.replace("/", " ") for name in trainings if _improved(project, name)]:
            reached[key] = Ceiling(steps=steps, trainings=names)
    return reached


def _improved(project: Path, training: str) -> bool:
    path = project / METRICS / f"{training}.json"
    return path.is_file() and bool(read_json(path).get("still_improving"))


def notices(board: Leaderboard) -> Iterator[str]:
    """A sentence for each key."""
    for key, ceiling in board["still_improving"].items():
        trainings = ", ".join(ceiling["trainings"])
        yield f"Still improving on val after the last of {ceiling['steps']:,} steps: {trainings}; raise {key}."
