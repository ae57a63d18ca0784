"""The teacher: fine-tuned on the dataset from given weights, trained from scratch, or taken as it is."""

from __future__ import annotations

import shutil
from pathlib import Path

from alambique import files
from alambique.config import Params, Teacher
from alambique.data.dataset import Dataset
from alambique.errors import DataError, IntegrityError
from alambique.layout import CURVES, DATA, INPUTS, WEIGHTS
from alambique.tasks import Metrics
from alambique.tasks.detect import network, samples, trainer


def teacher(project: Path, params: Params, name: str, target: Path) -> Metrics:
    """Train or take a teacher; see `alambique.tasks.Task.teacher`.

    Raises:
        IntegrityError: the given weights are not the bytes that were asked for.
        DataError: they are no detector, of another architecture (train), or know other classes (fetch).
    """
    data, asked = Dataset.load(project / DATA), params.teacher[name]
    given, source = given_weights(project / INPUTS / "teachers", name, asked.sha256)
    fetched = asked.source == "fetch"
    metrics = _take(given, data, target) if fetched else _train(given, data, params, asked, target)
    card = network.write_card(
        target, kind="teacher", image_size=params.image_size, data=data.digest("train"), source=source
    )
    return {**metrics, **network.figures(card)}


def given_weights(folder: Path, name: str, pinned: str | None = None) -> tuple[Path | None, str | None]:
    """The weights that `snapshot` put into `folder`, checked, and where they came from; None where it put none.

    Args:
        folder: inputs/teachers or inputs/students, with its index.json.
        name: of the entry.
        pinned: the sha256 that params.yaml insists on.
    Raises:
        IntegrityError: the file differs from the index or from `pinned`.
    """
    entry = files.read_json(folder / "index.json")[name]
    if entry["file"] is None:
        return None, None
    path = folder / entry["file"]
    found = files.sha256(path)
    for whose, expected in (("the index", entry["sha256"]), ("params.yaml", pinned)):
        if expected not in (None, found):
            raise IntegrityError(
                f"{path} has sha256 {found[:12]}, but {whose} says {expected[:12]}; "
                "give the right file, or correct the sha256 after you have checked who changed it"
            )
    return path, entry["uri"]


def _take(given: Path | None, data: Dataset, target: Path) -> Metrics:
    if given is None:
        raise DataError("teacher.source is fetch, but inputs/teachers holds no weights; make a new snapshot")
    network.verify_loadable(given)
    known = network.class_names(network.load(given))
    if known != data.classes:
        raise DataError(
            f"the teacher knows the classes {known}, the dataset {data.classes}; "
            "give a teacher of these classes, or fine-tune it with teacher.source: train"
        )
    shutil.copyfile(given, target / WEIGHTS)
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
        image_size=params.image_size,
        epochs=asked.epochs,
        training=params.training,
        seed=params.seed,
    )
