"""The images that quantization measures activations on: from train, equal for equal seeds, every class among them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from alambique.data.dataset import Dataset
from alambique.errors import ConfigurationError, DataError


def calibration_images(dataset: Dataset, count: int, seed: int) -> list[Path]:
    """Draw `count` training images, or all if there are fewer, which together show every class that train holds.

    First those which add most classes, then at random.

    Raises:
        DataError: train is empty, or shows a single one of several classes: ranges measured there fit no other.
        ConfigurationError: so few images cannot show every class.
    """
    found = dataset.images("train")
    images = [found[index] for index in np.random.default_rng(seed).permutation(len(found))]
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
