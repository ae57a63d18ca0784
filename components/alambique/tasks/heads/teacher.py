"""A teacher with a head: fine-tuned from given weights, trained from scratch, or taken as it is; measured on val."""

from __future__ import annotations

import shutil
from pathlib import Path

from ultralytics.nn.tasks import DetectionModel

from alambique import files
from alambique.config.heads import Evaluate, Heads, Network, Teacher
from alambique.data import inputs
from alambique.errors import DataError
from alambique.evaluation.measures import Metrics
from alambique.layout import CARD, CURVES, DATA, INPUTS, WEIGHTS
from alambique.tasks.detect import network
from alambique.tasks.heads import trainer
from alambique.tasks.heads.evaluate import measure
from alambique.tasks.heads.shapes import Shapes

VAL = Evaluate()
"""COCO's settings, whatever params.yaml evaluates with: another way to look at test should train no teacher anew."""


def teacher(project: Path, params: Heads, name: str, target: Path) -> Metrics:
    """Train or take a teacher, and measure it on val; see `alambique.tasks.Task.teacher`.

    Raises:
        IntegrityError: the given weights are not the bytes that were asked for.
        DataError: they have no such head, are of another architecture (train), or know other classes (fetch).
    """
    data, asked = Shapes.of(project / DATA, params.task), params.teacher[name]
    given, source = inputs.given(project / INPUTS / "teachers", name, asked.sha256)
    metrics = _take(given, data, target) if asked.source == "fetch" else _train(given, data, params, asked, target)
    card = network.write_card(
        target,
        kind="teacher",
        image_size=params.input_size,
        data=data.digest("train"),
        source=source,
        task=params.task,
    )
    found, _, _ = measure(target, data, "val", VAL)
    files.write_json(target / CARD, {**card, "val_map50_95": found["map50_95"]})
    measured = {f"val_{key}": found[key] for key in ("map50_95", "map50", "ap")}
    return {**metrics, **measured, **network.figures(card)}


def build(asked: Network, data: Shapes, seed: int) -> DetectionModel:
    """A freshly initialised network for the dataset's head, classes and keypoints."""
    details = {"data_kpt_shape": list(data.kpt_shape)} if data.head == "pose" else {}
    return network.build(asked, data.classes, seed, data.head, **details)


def _take(given: Path | None, data: Shapes, target: Path) -> Metrics:
    if given is None:
        raise DataError("teacher.source is fetch, but inputs/teachers holds no weights; make a new snapshot")
    network.verify_loadable(given, data.head)
    model = network.load(given, data.head)
    if (names := network.class_names(model)) != data.classes:
        raise DataError(f"{given} knows {names}, but the dataset's classes are {data.classes}; fine-tune it (train)")
    if data.head == "pose" and (shape := tuple(model.model[-1].kpt_shape)) != data.kpt_shape:
        raise DataError(f"{given} has keypoints of the shape {shape}, but those of data.yaml have {data.kpt_shape}")
    shutil.copyfile(given, target / WEIGHTS)
    files.write_text(target / CURVES, "")
    return {}


def _train(given: Path | None, data: Shapes, params: Heads, asked: Teacher, target: Path) -> Metrics:
    model = build(asked.network, data, params.seed)
    if given is not None:
        network.start_from(model, given)
    return trainer.train(
        model,
        data,
        data.samples("train"),
        target,
        image_size=params.input_size,
        epochs=asked.epochs,
        training=params.training,
        seed=params.seed,
    )
