"""Statistics of a cache of boxes: the teachers' confidence, by class, and how many of the labelled boxes they have.

Also what an inspection says of them in words and rows, for the terminal and the page alike.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import entr, expit, softmax
from ultralytics.utils.metrics import box_iou

from alambique.errors import DataError
from alambique.report.soft_labels import BINS
from alambique.softlabels.reader import Cache
from alambique.tasks.yolo import average_precision, pictures
from alambique.tasks.yolo.average_precision import Detections
from alambique.tasks.yolo.dataset import YoloDataset
from alambique.tasks.yolo.samples import SAME_BOX
from alambique.tasks.yolo.soft_label_rows import BoxLabels, BoxRecipe

EACH = 2
"""Images of a kind that are shown."""

MIN_SCORE = 0.25
"""Boxes below do not count where images are ordered by how many they have."""


@dataclass
class Statistics:
    """Of all images of a cache.

    Attributes:
        recipe: how the cache was made.
        confidence, entropy: how many boxes have a score, or an `entropy`, from i / BINS on, (BINS,).
        predicted: boxes whose likeliest class it is, by class, (classes,).
        labelled: boxes that people drew in the images, by class, (classes,).
        found: those of them that the teachers have, by class, (classes,).
        images: how many, by the first folder of their path: the split, as a rule.
        certainty: of each image with boxes; see `certainty`.
        crowd: of each image with boxes, how many score `MIN_SCORE`.
    """

    recipe: BoxRecipe
    confidence: NDArray[np.int64]
    entropy: NDArray[np.int64]
    predicted: NDArray[np.int64]
    labelled: NDArray[np.int64]
    found: NDArray[np.int64]
    images: Counter[str] = field(default_factory=Counter)
    certainty: dict[str, float] = field(default_factory=dict)
    crowd: dict[str, int] = field(default_factory=dict)

    @property
    def recall(self) -> float | None:
        """The share of the labelled boxes that were found; None where there are none."""
        return float(self.found.sum() / self.labelled.sum()) if self.labelled.any() else None

    @property
    def shown(self) -> dict[str, list[str]]:
        """The images to show, by why; none twice, ties by name."""
        unsure = sorted(self.certainty, key=lambda name: (self.certainty[name], name))[:EACH]
        rest = self.certainty.keys() - unsure
        sure = sorted(rest, key=lambda name: (-self.certainty[name], name))[:EACH]
        crowded = sorted(rest - set(sure), key=lambda name: (-self.crowd[name], name))[:EACH]
        return {"least certain": unsure, "most certain": sure, "most crowded": crowded}


def collect(recipe: BoxRecipe, cache: Cache[BoxLabels], data: YoloDataset) -> Statistics:
    """Go through a cache once."""
    histograms, by_class = np.zeros((2, BINS), np.int64), np.zeros((3, len(recipe.classes)), np.int64)
    statistics = Statistics(recipe, *histograms, *by_class)
    for image, row in cache.items():
        statistics.images[image.partition("/")[0]] += 1
        _count(statistics, row)
        _compare(statistics, row, pictures.labelled(data, data.root / "images" / image).detections)
    return statistics


def _count(statistics: Statistics, row: BoxLabels) -> None:
    scores = row.scores.astype(np.float64)
    statistics.confidence += np.histogram(scores, BINS, (0, 1))[0]
    statistics.entropy += np.histogram(entropy(row.logits), BINS, (0, 1))[0]
    statistics.predicted += np.bincount(row.classes[:, 0], minlength=len(statistics.predicted))
    if scores.any():
        statistics.certainty[row.image] = certainty(scores)
        statistics.crowd[row.image] = int((scores >= MIN_SCORE).sum())


def _compare(statistics: Statistics, row: BoxLabels, truth: Detections) -> None:
    """Count an image's labelled boxes, and those that the teachers have: of the same class, IoU ≥ 0.5."""
    statistics.labelled += np.bincount(truth.classes, minlength=len(statistics.labelled))
    matched = average_precision.match(row.detections, truth.boxes, truth.classes)
    statistics.found += np.bincount(matched.classes[matched.correct[:, 0]], minlength=len(statistics.found))


def owners(row: BoxLabels, truth: Detections) -> list[int | None]:
    """For each of the teachers' boxes the labelled one that it overlaps most, whatever its class; None below 0.5."""
    if not len(truth.boxes):
        return [None] * len(row.boxes)
    overlaps = box_iou(torch.from_numpy(row.boxes.astype(np.float32)), torch.from_numpy(truth.boxes)).numpy()
    pairs = zip(overlaps.max(1), overlaps.argmax(1), strict=True)
    return [int(index) if overlap >= SAME_BOX else None for overlap, index in pairs]


def entropy(logits: NDArray[np.float16]) -> NDArray[np.float32]:
    """Normalised entropy of the kept classes' softmax: 0 = one class has all the mass, 1 = uniform.

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


class ClassRow(NamedTuple):
    """What is known of a class.

    Attributes:
        name: its name.
        labelled: boxes that people drew.
        recall: the share of them that the teachers have; None where there are none.
        predicted: the teachers' boxes whose likeliest class it is.
        share: of all these, 0 to 1.
    """

    name: str
    labelled: int
    recall: float | None
    predicted: int
    share: float


def facts(statistics: Statistics) -> dict[str, str]:
    """What the cache holds, in words."""
    images, boxes = statistics.images.total(), int(statistics.predicted.sum())
    splits = ", ".join(f"{count:,} {split}" for split, count in sorted(statistics.images.items()))
    lines = {
        "kept": _kept(statistics.recipe),
        "images": f"{images:,} ({splits})",
        "boxes": f"{boxes:,}, {boxes / max(images, 1):.1f} an image",
    }
    if statistics.recall is not None:
        lines["labels found"] = (
            f"{statistics.recall:.1%} of {statistics.labelled.sum():,} (same class, IoU ≥ {SAME_BOX})"
        )
    return lines


def _kept(recipe: BoxRecipe) -> str:
    what = f"up to {recipe.max_boxes} boxes an image with a score of at least {recipe.min_score}"
    size = " and ".join(map(str, recipe.image_sizes))
    return f"{what}; logits of {recipe.width} classes each; input {size} px"


def by_class(statistics: Statistics) -> list[ClassRow]:
    """A row per class, in index order."""
    total = max(int(statistics.predicted.sum()), 1)
    counts = (column.tolist() for column in (statistics.labelled, statistics.found, statistics.predicted))
    return [
        ClassRow(name, labelled, found / labelled if labelled else None, predicted, predicted / total)
        for name, labelled, found, predicted in zip(statistics.recipe.classes, *counts, strict=True)
    ]


def probabilities(logits: NDArray[np.float16], kept: NDArray[np.int16], classes: Sequence[str]) -> str:
    """A box's class probabilities, the likeliest first: RBC 0.83 · WBC 0.012."""
    probabilities = expit(logits.astype(np.float32))
    return " · ".join(f"{classes[index]} {value:.2g}" for index, value in zip(kept, probabilities, strict=True))


def row_of(cache: Cache[Any], image: str) -> Any:
    """The row of an image; a DataError if the cache knows no such image."""
    row = cache.get(image)
    if row is None:
        raise DataError(f"there are no soft labels for {image}; name an image as in {next(iter(cache), 'train/x.png')}")
    return row
