"""Train a teacher, or take given weights as one.

Reads   data/, inputs/teachers/
Writes  models/teacher/<name>/{weights.pt, card.json, curves.csv}, metrics/teacher/<name>.json
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from alambique.config import Params
from alambique.errors import DataError
from alambique.evaluation.measures import Metrics
from alambique.files import write_text
from alambique.layout import CURVES, DATA, INPUTS, teacher
from alambique.stages.work import costs, given_weights, produce, write_checkpoint_card
from alambique.tasks import Task, weight_files


def run(project: Path, name: str) -> None:
    """Fine-tune a teacher on the dataset, or verify the one that was fetched; measure it on val.

    Raises:
        IntegrityError: the given weights are not the bytes that were asked for.
        DataError: they cannot be read, are of another architecture (train), lack one of the classes (fetch), or cannot
            be narrowed to a student that is to start from them.
    """

    def work(task: Task, params: Params, target: Path) -> Metrics:
        dataset, asked = task.dataset(project / DATA), params.teacher[name]
        weights, source = given_weights(project / INPUTS / "teachers", name, asked.sha256)
        sized = params.for_teacher(name)
        with weight_files.named(weights, source):
            if asked.source == "fetch":
                metrics = _fetch(task, weights, asked, dataset, sized, target)
            else:
                metrics = _train(task, weights, asked, dataset, sized, target)
        figures = {f"val_{key}": value for key, value in task.measure_val(target, dataset, sized).items()}
        kept = {key: figures[key] for key in (f"val_{params.HEADLINE}", "val_ap") if key in figures}
        card = write_checkpoint_card(
            task, target, sized, kind="teacher", data=dataset.digest("train"), source=source, **kept
        )
        return {**metrics, **figures, **costs(card)}

    produce(project, teacher(name), f"teacher/{name}", work)


def _fetch(task: Task, weights: Path | None, asked: Any, dataset: Any, params: Params, target: Path) -> Metrics:
    if weights is None:
        raise DataError("teacher.source is fetch, but inputs/teachers holds no weights; make a new snapshot")
    task.copy_weights(weights, asked, dataset, params, target)
    _require_students(task, target, dataset, params)
    write_text(target / CURVES, "")
    return {}


def _train(task: Task, weights: Path | None, asked: Any, dataset: Any, params: Params, target: Path) -> Metrics:
    network = task.build(asked.network, dataset, params, seed=params.seed, weights=weights)
    with TemporaryDirectory() as folder:
        task.save(network, Path(folder), params)
        _require_students(task, Path(folder), dataset, params)
    prior = task.pretrain(network, dataset, asked, params)
    objective = task.label_objective(network, dataset, params)
    return task.train(network, objective, dataset, params, target, steps=asked.steps, seed=params.seed, prior=prior)


def _require_students(task: Task, folder: Path, dataset: Any, params: Params) -> None:
    """Refuse a teacher that a student cannot start from, before it is trained and not after.

    Args:
        folder: a checkpoint of the teacher's architecture.
    """
    for student in filter(params.starts_from_teacher, params.students):
        task.build(params.networks[student], dataset, params, seed=params.seed, weights=task.weights_of(folder))
