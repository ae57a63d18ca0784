"""Measure a program on a split: every network is given the same images, preprocessed the same way."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alambique.errors import DataError
from alambique.evaluation.measures import Metrics
from alambique.files import read_json
from alambique.layout import CARD
from alambique.runtimes.base import Program
from alambique.tasks.base import Measurement
from alambique.tasks.classifiers import evaluation, parity
from alambique.tasks.images.dataset import Dataset
from alambique.tasks.images.preprocess import preprocess


def measure(folder: Path, program: Program, dataset: Dataset, split: str) -> Measurement:
    """Figures of a checkpoint or candidate on a split; see `alambique.tasks.base.Task.measure`."""
    images, card = dataset.images(split), read_json(folder / CARD)
    if not images:
        raise DataError(f"{dataset.root} has no {split} images; all networks are measured on them: add some")
    return evaluation.measurement(
        [dataset.inside(image) for image in images],
        np.array([dataset.label(image) for image in images]),
        evaluation.match_classes(
            probabilities(program, images, card["image_size"], folder), card["classes"], dataset.classes, folder
        ),
        dataset.classes,
    )


def compare(folder: Path, artifact: Program, checkpoint: Program, dataset: Dataset) -> Metrics:
    """Parity of a candidate and its checkpoint on the first test images; see `classifiers.parity`.

    Args:
        folder: of the candidate.
    """
    images, size = dataset.images("test")[: parity.SAMPLES], read_json(folder / CARD)["image_size"]
    return parity.parity(*(probabilities(program, images, size, folder) for program in (artifact, checkpoint)))


def probabilities(program: Program, images: Iterable[Path], image_size: int, source: Path) -> NDArray[np.float64]:
    """A program's class probabilities of each image, (n, classes); NaN where a logit is not finite.

    Args:
        program: from (1, 3, size, size) to logits, (1, classes).
        images: n files, n > 0.
        image_size: side of the input, pixels.
        source: what the program is of, for messages.
    Raises:
        DataError: its output has another shape, or an image cannot be read.
    """
    return evaluation.softmax(
        np.concatenate([_logits(program, preprocess(image, image_size), source) for image in images])
    )


def _logits(program: Program, image: NDArray[np.float32], source: Path) -> NDArray[np.float32]:
    (logits,) = program(image)
    if logits.ndim != 2 or len(logits) != 1:
        raise DataError(f"{source} returned {logits.shape}, not the logits of one image; export it again")
    return logits
