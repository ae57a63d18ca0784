"""Features of images that never were, for what compares them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from alambique.drift import image_statistics
from alambique.drift.features import Batch, Reference
from alambique.tasks.base import DriftFeatures

CLASSES = ["cat", "dog", "eel"]


def network_features(
    images: int, chance: np.random.Generator, shares: tuple[float, ...] = (0.5, 0.3, 0.2)
) -> DriftFeatures:
    """What a network might make of them."""
    boxes = chance.poisson(3, images)
    return DriftFeatures(
        embeddings=chance.normal(size=(images, 16)),
        numbers={"confidence": chance.beta(5, 2, images), "boxes": boxes.astype(float)},
        counts=np.array([chance.multinomial(count, shares) for count in boxes], float).reshape(-1, len(CLASSES)),
        classes=CLASSES,
        uncertainty=chance.random(images),
    )


def table(images: int, chance: np.random.Generator) -> NDArray[np.float64]:
    """Statistics, with one width and height for all."""
    found = chance.normal(size=(images, len(image_statistics.NAMES)))
    found[:, image_statistics.NAMES.index("aspect")] = 1.5
    return found


def batch(images: int, seed: int) -> Batch:
    chance = np.random.default_rng(seed)
    return Batch(table(images, chance), network_features(images, chance))


def reference(seed: int = 0, trained: int = 150, held_out: int = 100) -> Reference:
    chance = np.random.default_rng(seed)
    return Reference(table(trained, chance), network_features(held_out, chance), trained, held_out)
