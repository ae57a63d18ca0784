"""The images that quantization measures activations on: from train, equal for equal seeds, every class among them."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alambique.data.dataset import Dataset
from alambique.errors import ConfigurationError, DataError
from alambique.files import sha256

Inputs = list[NDArray[np.float32]]
"""Calibration images as a network takes them, each (1, 3, size, size)."""


def calibration_images(dataset: Dataset, count: int, seed: int) -> list[Path]:
    """Draw `count` training images, or all if there are fewer, which together show every class that train holds.

    First those which add most classes, then at random.

    Raises:
        DataError: train is empty, or shows a single one of several classes: ranges measured there fit no other.
        ConfigurationError: so few images cannot show every class.
    """
    train = dataset.images("train")
    images = [train[index] for index in np.random.default_rng(seed).permutation(len(train))]
    shown = {image: {int(row[0]) for row in dataset.boxes(image)} for image in images}
    wanted: set[int] = set().union(*shown.values())
    if not images or len(wanted) < min(2, len(dataset.classes)):
        raise DataError(
            f"the {len(images)} training images below {dataset.root} show {len(wanted)} of {len(dataset.classes)} "
            "classes: INT8 needs more to calibrate on; add labelled images"
        )
    drawn: list[Path] = []
    missing = wanted
    while missing and len(drawn) < count:
        drawn.append(max(images, key=lambda image: len(shown[image] & missing)))
        missing = missing - shown[drawn[-1]]
    if missing:
        names = ", ".join(dataset.classes[index] for index in sorted(missing))
        raise ConfigurationError(f"quantize.images: {count} images cannot show every class; {names} would be missing")
    rest = [image for image in images if image not in drawn]
    return drawn + rest[: count - len(drawn)]


def describe(dataset: Dataset, images: list[Path]) -> dict[str, Any]:
    """What tells one calibration set from another: a digest over the images' contents in their order, how many they
    are, and how many boxes of each class they show."""
    contents = "".join(f"{sha256(image)}\n" for image in images)
    boxes = Counter(int(row[0]) for image in images for row in dataset.boxes(image))
    return {
        "calibration_images": len(images),
        "calibration_digest": hashlib.sha256(contents.encode()).hexdigest(),
        "calibration_boxes": {name: boxes[index] for index, name in enumerate(dataset.classes)},
    }
