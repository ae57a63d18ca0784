"""Measure a subject on the test split: every subject by the same images and the same preprocessing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from alambique.config.classify import Params
from alambique.errors import DataError, IntegrityError
from alambique.evaluation.measures import Metrics
from alambique.files import write_json
from alambique.layout import CARD, DATA, EvaluationTarget, checkpoint
from alambique.tasks.cards import read_card
from alambique.tasks.classification import metrics, parity, results
from alambique.tasks.classify.dataset import Dataset
from alambique.tasks.classify.predict import chances, load

SPLIT = "test"
CONFUSION = "confusion.json"
"""How often each class, a row, was taken for each other."""


def evaluate(project: Path, params: Params, subject: str, target: Path) -> Metrics:
    """Measure `subject`; see `alambique.tasks.Task.evaluate`.

    Writes  samples.arrow: the likeliest classes of each test image. confusion.json: what is taken for what.
    Raises:
        IntegrityError: the subject's files are not what its card says, or a candidate was made from another checkpoint
            than the one that lies there.
        DataError: there are no test images, or the subject tells other classes apart than the dataset.
    """
    named, data = EvaluationTarget.parse(subject), Dataset.load(project / DATA)
    folder = project / named.folder
    if named.kind == "champion" and not (folder / CARD).exists():
        results.write(target, results.answers([], np.zeros(0, np.int32), np.zeros((0, len(data.classes)))))
        return {"subject": subject, "present": False}
    images = data.images(SPLIT)
    if not images:
        raise DataError(f"{data.root} has no {SPLIT} images; every subject is measured on them: add some")
    found = look(folder, images, data)
    truth = np.array([data.label(image) for image in images])
    answers = results.answers([data.inside(image) for image in images], truth, found)
    results.write(target, answers)
    counts = metrics.confusion(answers.classes[:, 0], truth, len(data.classes))
    write_json(target / CONFUSION, {"classes": data.classes, "counts": counts.tolist()})
    compared: Metrics = {}
    if named.kind == "candidate":
        compared["parity"] = compare(folder, project / checkpoint(str(named.student), "pruned"), found, images, data)
    return {
        "subject": subject,
        "present": True,
        "split": SPLIT,
        "data": data.digest(SPLIT),
        "images": len(images),
        **metrics.summarize(found, truth, data.classes),
        **_identity(read_card(folder)),
        **compared,
    }


def look(folder: Path, images: list[Path], data: Dataset) -> NDArray[np.float64]:
    """The probabilities that a checkpoint or candidate gives to the dataset's classes in each image, (n, classes).

    What it does not know has none.

    Raises:
        IntegrityError: a file is not what the card says.
        DataError: it knows none of the dataset's classes.
    """
    card = read_card(folder)
    known = [name for name in data.classes if name in card["classes"]]
    if not known:
        raise DataError(
            f"{folder} knows {card['classes']}, none of the dataset's {data.classes}: it is another task's network"
        )
    own = chances(load(folder, torch.get_num_threads()), images, card["image_size"])
    found = np.zeros((len(images), len(data.classes)))
    found[:, [data.classes.index(name) for name in known]] = own[:, [card["classes"].index(name) for name in known]]
    return found


def compare(folder: Path, source: Path, found: NDArray[np.float64], images: list[Path], data: Dataset) -> Metrics:
    """Let a candidate and its checkpoint answer the first images; see `classification.parity`.

    Args:
        folder, source: of the candidate and of the checkpoint.
        found: what the candidate gives.
    Raises:
        IntegrityError: the candidate was made from another checkpoint.
    """
    made_from, lies_there = read_card(folder)["checkpoint_sha256"], read_card(source)["sha256"]
    if made_from != lies_there:
        raise IntegrityError(
            f"{folder} was made from the checkpoint {made_from[:12]}, but {source} holds {lies_there[:12]}; "
            "export it again (`dvc repro export quantize`)"
        )
    first = images[: parity.SAMPLES]
    return parity.parity(found[: len(first)], look(source, first, data))


def _identity(card: dict[str, Any]) -> Metrics:
    """What was measured, from its verified card."""
    figures = {key: card.get(key) for key in ("parameters", "macs", "size_bytes")}
    if "runtime" in card:
        return {**figures, "candidate": card["candidate"], "digest": card["digest"]}
    return {**figures, "sha256": card["sha256"]}
