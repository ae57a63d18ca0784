"""Distill a student from the cached soft labels.

Reads   data/, soft_labels/, models/teacher/, inputs/students/
Writes  models/distilled/<seed>/<student>/{weights.pt, card.json, curves.csv}, metrics/distill/<student>-<seed>.json

Its control (`stages.control`) is the same network with the same seed and number of steps, and the best initial weights
that are to be had without the teacher: what the distilled student does better is what the teacher and the unlabelled
samples are worth. `stages.ablation` splits that.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from alambique.config import Params
from alambique.config.section import TEACHER
from alambique.evaluation.measures import Metrics
from alambique.layout import DATA, INPUTS, SOFT_LABELS, Seeded, checkpoint
from alambique.softlabels.reader import Cache
from alambique.stages.work import costs, given_weights, produce, teacher_folders, teacher_sha256s, write_checkpoint_card
from alambique.tasks import Task, weight_files
from alambique.tasks.base import Network, Objective
from alambique.tasks.cards import read_card
from alambique.tasks.trainer_state import NO_PRIOR

logger = logging.getLogger(__name__)


def run(project: Path, student: str, seed: str) -> None:
    """Train `student` on labels where there are any, and on the teachers' soft labels everywhere."""
    train_student(project, student, int(seed), "distilled", f"distill/{student}-{seed}")


def train_student(project: Path, student: str, seed: int, kind: Seeded, metrics: str) -> None:
    """Train `student` with `seed` into models/<kind>/<seed>/<student>/.

    Raises:
        IntegrityError: the cache is damaged, or was made from other samples or by other teachers than today's.
    """

    def work(task: Task, params: Params, target: Path) -> Metrics:
        dataset = task.dataset(project / DATA)
        if kind == "labelled" and not dataset.size("unlabelled"):
            logger.warning("ablations: labelled is the distilled student again: there are no unlabelled samples")
        weights, source = _initial_weights(task, project, params, student, kind)
        with weight_files.named(weights, source):
            network = task.build(params.networks[student], dataset, params, seed=seed, weights=weights)
        if kind in {"control", "start"}:
            objective, teachers = task.label_objective(network, dataset, params), []
        else:
            unlabelled = kind != "labelled"
            objective = distillation_objective(task, network, dataset, params, project, unlabelled=unlabelled)
            teachers = teacher_sha256s(project, params)
        metrics = task.train(
            network, objective, dataset, params, target, steps=params.distill.steps, seed=seed, prior=NO_PRIOR
        )
        card = write_checkpoint_card(
            task,
            target,
            params,
            kind=kind,
            data=dataset.digest("train"),
            student=student,
            teachers=teachers,
            source=source,
        )
        return {**metrics, **costs(card)}

    produce(project, checkpoint(student, kind, seed), metrics, work)


def _initial_weights(
    task: Task, project: Path, params: Params, student: str, kind: Seeded
) -> tuple[Path | None, str | None]:
    """Path and origin of a student's initial weights; both None where it is initialised at random."""
    if kind != "control" and params.starts_from_teacher(student):
        folder = teacher_folders(project, params)[0]
        return task.weights_of(folder), f"{TEACHER}:{read_card(folder)['sha256']}"
    return given_weights(project / INPUTS / "students", student)


def distillation_objective(
    task: Task, network: Network, dataset: Any, params: Params, project: Path, *, unlabelled: bool = True
) -> Objective:
    """The objective of `distill.method`, by which pruned students recover, too.

    The cache is opened whatever the method takes of it: it is an input of the stage, and a damaged one is refused.

    Args:
        unlabelled: whether unlabelled samples are trained on.
    Raises:
        IntegrityError: the cache is damaged, or was made from other samples or by other teachers than today's.
    """
    if params.distill.method == "none":
        return task.label_objective(network, dataset, params)
    teachers = teacher_folders(project, params)
    recipe = task.soft_label_recipe([read_card(folder) for folder in teachers], dataset, params)
    cache = Cache.open(project / SOFT_LABELS, recipe)
    samples = dataset if unlabelled else dataset.labelled()
    return task.distillation_objective(network, samples, params, cache, teachers)
