"""Look at a cache: how sure the teachers are, of which classes, and how many of the labelled boxes they know."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import entr, softmax
from ultralytics.utils.metrics import box_iou

from alambique.data.dataset import Dataset
from alambique.layout import SOFT_LABELS
from alambique.softlabels.reader import Cache
from alambique.tasks.detect import average_precision, pictures
from alambique.tasks.detect.boxes import BoxRecipe, SoftLabels
from alambique.tasks.detect.pictures import Boxes
from alambique.tasks.detect.samples import SAME_BOX

BINS = 20
"""Of a histogram from 0 to 1."""

EACH = 2
"""Images of a kind that are shown."""


@dataclass
class Inspection:
    """What was found.

    Attributes:
        recipe: how the cache was made.
        size: bytes on disk, manifests and all.
        confidence, entropy: how many boxes have a score, or an `entropy`, from i / BINS on, (BINS,).
        taught: boxes whose likeliest class it is, by class, (classes,).
        labelled: boxes that people drew in the images, by class, (classes,).
        found: those of them that the teachers have, by class, (classes,).
        images: how many, by the first folder of their path: the split, as a rule.
        certainty: of each image with boxes; see `certainty`.
        crowd: of each image with boxes, how many score enough to be shown in a report.
    """

    recipe: BoxRecipe
    size: int
    confidence: NDArray[np.int64]
    entropy: NDArray[np.int64]
    taught: NDArray[np.int64]
    labelled: NDArray[np.int64]
    found: NDArray[np.int64]
    images: Counter[str] = field(default_factory=Counter)
    certainty: dict[str, float] = field(default_factory=dict)
    crowd: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of_nothing_yet(cls, recipe: BoxRecipe, size: int) -> Self:
        confidence, spread = np.zeros((2, BINS), np.int64)
        taught, labelled, found = np.zeros((3, len(recipe.classes)), np.int64)
        return cls(recipe, size, confidence, spread, taught, labelled, found)

    @property
    def recall(self) -> float | None:
        """The share of the labelled boxes that were found; None where there are none."""
        return float(self.found.sum() / self.labelled.sum()) if self.labelled.any() else None

    @property
    def shown(self) -> dict[str, list[str]]:
        """The images worth a look, by why; none twice, ties by name."""
        unsure = sorted(self.certainty, key=lambda name: (self.certainty[name], name))[:EACH]
        rest = self.certainty.keys() - unsure
        sure = sorted(rest, key=lambda name: (-self.certainty[name], name))[:EACH]
        crowded = sorted(rest - set(sure), key=lambda name: (-self.crowd[name], name))[:EACH]
        return {"least certain": unsure, "most certain": sure, "most crowded": crowded}


def inspect(project: Path, recipe: BoxRecipe, cache: Cache[SoftLabels], data: Dataset) -> Inspection:
    """Look at every image of a project's cache once."""
    size = sum(path.stat().st_size for path in (project / SOFT_LABELS).glob("[!.]*/*"))
    seen = Inspection.of_nothing_yet(recipe, size)
    for image, row in cache.items():
        seen.images[image.partition("/")[0]] += 1
        _count(seen, row)
        _compare(seen, row, pictures.labelled(data, data.root / "images" / image))
    return seen


def _count(seen: Inspection, row: SoftLabels) -> None:
    scores = row.scores.astype(np.float64)
    seen.confidence += np.histogram(scores, BINS, (0, 1))[0]
    seen.entropy += np.histogram(entropy(row.logits), BINS, (0, 1))[0]
    seen.taught += np.bincount(row.classes[:, 0], minlength=len(seen.taught))
    if scores.any():
        seen.certainty[row.image] = certainty(scores)
        seen.crowd[row.image] = int((scores >= pictures.MIN_SCORE).sum())


def _compare(seen: Inspection, row: SoftLabels, truth: Boxes) -> None:
    """Count an image's labelled boxes, and those that the teachers have: of the same class, IoU ≥ 0.5."""
    seen.labelled += np.bincount(truth.classes, minlength=len(seen.labelled))
    matched = average_precision.match(*likeliest(row), truth.boxes, truth.classes)
    seen.found += np.bincount(matched.classes[matched.correct[:, 0]], minlength=len(seen.found))


def likeliest(row: SoftLabels) -> Boxes:
    """The boxes with their likeliest classes alone."""
    return Boxes(row.boxes.astype(np.float32), row.scores.astype(np.float32), row.classes[:, 0].astype(np.int64))


def owners(row: SoftLabels, truth: Boxes) -> list[int | None]:
    """For each of the teachers' boxes the labelled one that it overlaps most, whatever its class; None below 0.5."""
    if not len(truth.boxes):
        return [None] * len(row.boxes)
    overlaps = box_iou(torch.from_numpy(row.boxes.astype(np.float32)), torch.from_numpy(truth.boxes)).numpy()
    pairs = zip(overlaps.max(1), overlaps.argmax(1), strict=True)
    return [int(index) if overlap >= SAME_BOX else None for overlap, index in pairs]


def entropy(logits: NDArray[np.float16]) -> NDArray[np.float32]:
    """Shannon's, of the kept classes' softmax, as a share of the highest possible: 0 is sure, 1 is at a loss.

    A lone class is weighed against its absence, as the distillation loss weighs it.

    Args:
        logits: (n, k).
    Returns:
        (n,).
    """
    choices = logits.astype(np.float32)
    if choices.shape[-1] == 1:
        choices = np.concatenate((choices, np.zeros_like(choices)), -1)
    share: NDArray[np.float32] = entr(softmax(choices, -1)).sum(-1) / np.log(choices.shape[-1])
    return share.clip(0, 1)


def certainty(scores: NDArray[np.float64]) -> float:
    """An image's mean score, weighted by the scores themselves, so that its many faint boxes count for little."""
    return float((scores**2).sum() / scores.sum())
