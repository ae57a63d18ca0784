"""A teacher: fine-tuned from given weights, trained from scratch, or taken as it is; and measured on val."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from alambique import files
from alambique.config.detect import Evaluate, Params, Teacher
from alambique.data import inputs
from alambique.data.dataset import Dataset
from alambique.errors import DataError
from alambique.evaluation.measures import Metrics
from alambique.layout import CARD, CURVES, DATA, INPUTS, WEIGHTS
from alambique.tasks.detect import classes, network, samples, trainer
from alambique.tasks.detect.evaluate import measure

VAL = Evaluate()
"""COCO's settings, whatever params.yaml evaluates with: another way to look at test should train no teacher anew."""


def teacher(project: Path, params: Params, name: str, target: Path) -> Metrics:
    """Train or take a teacher, and measure it on val; see `alambique.tasks.Task.teacher`.

    Raises:
        IntegrityError: the given weights are not the bytes that were asked for.
        DataError: they are no detector, of another architecture (train), or lack one of the dataset's classes (fetch).
    """
    data, asked = Dataset.load(project / DATA), params.teacher[name]
    size = asked.input_size or params.input_size
    given, source = inputs.given(project / INPUTS / "teachers", name, asked.sha256)
    if asked.source == "fetch":
        metrics = _take(given, data, size, target)
    else:
        metrics = _train(given, data, params, asked, target)
    card = network.write_card(target, kind="teacher", image_size=size, data=data.digest("train"), source=source)
    return {**metrics, **_measure(target, card, data), **network.figures(card)}


def _take(given: Path | None, data: Dataset, image_size: int, target: Path) -> Metrics:
    if given is None:
        raise DataError("teacher.source is fetch, but inputs/teachers holds no weights; make a new snapshot")
    network.verify_loadable(given)
    model = network.load(given)
    if network.class_names(model) == data.classes:
        shutil.copyfile(given, target / WEIGHTS)
    else:
        network.save(classes.select(model, data.classes), target / WEIGHTS, image_size)
    files.write_text(target / CURVES, "")
    return {}


def _train(given: Path | None, data: Dataset, params: Params, asked: Teacher, target: Path) -> Metrics:
    model = network.build(asked.network, data.classes, params.seed)
    if given is not None:
        network.start_from(model, given)
    return trainer.train(
        model,
        data,
        samples.labelled(data, "train"),
        target,
        image_size=asked.input_size or params.input_size,
        epochs=asked.epochs,
        training=params.training,
        seed=params.seed,
    )


def _measure(target: Path, card: dict[str, Any], data: Dataset) -> Metrics:
    """Add the average precision on val to the card, since it decides between teachers; return it as metrics."""
    found, _ = measure(target, data, "val", VAL)
    metrics = {f"val_{name}": found[name] for name in ("map50_95", "map50", "precision", "recall", "ap")}
    files.write_json(target / CARD, {**card, "val_map50_95": found["map50_95"], "val_ap": found["ap"]})
    return metrics
