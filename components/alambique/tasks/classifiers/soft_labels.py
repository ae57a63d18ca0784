"""Soft labels of classifiers: the top-k of the teachers' distribution over classes, for each view of a sample.

A view is what a teacher is given of a sample: a random crop of an image; the text itself, which has one view.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from alambique.errors import IntegrityError
from alambique.softlabels import schema, topk
from alambique.softlabels.key import Recipe
from alambique.tasks.base import Card, Dataset

SPLITS = ("train", "unlabelled")
"""What students are trained on."""
UNLABELLED = -1
"""The class index of a sample without a label."""
COMBINE = "average"
"""How several teachers' distributions become one; see `average`."""


class ClassLabels(NamedTuple):
    """The teachers' distributions for the v views of one sample, each reduced to its k likeliest classes.

    Attributes:
        sample: its name, as in train/cat/x.png.
        log_probabilities: of the likeliest classes at temperature 1, descending, (v, k).
        classes: which classes these are, (v, k).
        log_remaining_mass: logarithm of the other classes' probabilities summed up, (v,).
        checksums: CRC-32 of each view as the teachers were given it, (v,).
    """

    sample: str
    log_probabilities: NDArray[np.float16]
    classes: NDArray[np.int16]
    log_remaining_mass: NDArray[np.float16]
    checksums: NDArray[np.uint32]


class ClassRecipe(Recipe[ClassLabels]):
    """Everything that decides a classifier's soft labels; images add how their views are drawn."""

    @property
    def width(self) -> int:
        """Classes kept of a view: `top_k`, or all if there are fewer."""
        return min(self.top_k, len(self.classes))

    @property
    def row(self) -> type[ClassLabels]:
        """The class of its rows."""
        return ClassLabels

    def describe(self) -> dict[str, str]:
        """What is kept of each view, in words.

        Raises:
            IntegrityError: a view is of two samples, and tells of neither.
        """
        return {"classes kept": f"{self.width} of {len(self.classes)}"}

    def layout(self) -> pa.Schema:
        """The columns of a shard; half precision keeps a log-probability to a part in two thousand."""
        return schema.rows(
            log_probabilities=pa.list_(pa.float16(), self.width),
            classes=pa.list_(pa.int16(), self.width),
            log_remaining_mass=pa.float16(),
            checksums=pa.uint32(),
        )


def average(log_probabilities: Tensor) -> Tensor:
    """Logarithm of the teachers' mean probabilities.

    Args:
        log_probabilities: nats, (teachers, n, classes).
    Returns:
        (n, classes).
    """
    return log_probabilities.logsumexp(0) - math.log(len(log_probabilities))


def keep(sample: str, log_probabilities: Tensor, checksums: Sequence[int], recipe: ClassRecipe) -> ClassLabels:
    """A sample's row of the cache.

    Args:
        sample: its name.
        log_probabilities: of all classes, (v, classes).
        checksums: of its v views.
        recipe: how many classes to keep.
    """
    kept = topk.keep(log_probabilities, recipe.width)
    return ClassLabels(
        sample,
        kept.values.numpy().astype(np.float16),
        kept.indices.numpy().astype(np.int16),
        kept.log_remaining_mass.numpy().astype(np.float16),
        np.array(checksums, np.uint32),
    )


def digests(dataset: Dataset) -> dict[str, str]:
    """Of each split that students are trained on."""
    return {split: dataset.digest(split) for split in SPLITS if dataset.has(split)}


def base_recipe(cards: Sequence[Card], dataset: Dataset, params: Any, classes: list[str]) -> dict[str, Any]:
    """What the recipes of all tasks that average teachers have in common.

    Args:
        cards: of the teachers, in the order of `params.teachers`.
        classes: of the dataset, by index; none where there are none.
    Raises:
        IntegrityError: a teacher was trained for other classes.
    """
    for name, card in zip(params.teachers, cards, strict=True):
        if card["classes"] != classes:
            raise IntegrityError(
                f"the teacher {name} knows the classes {card['classes']}, but the dataset's are {classes}; "
                "run the teacher stage again (`dvc repro teacher`)"
            )
    return {
        "teachers": [card["sha256"] for card in cards],
        "combine": COMBINE,
        "data": digests(dataset),
        "top_k": params.soft_labels.top_k,
        "classes": classes,
    }


def view_targets(cache: Mapping[str, ClassLabels], sample: str, view: int, checksum: int) -> dict[str, Any]:
    """The teachers' distribution for one view, under the names that `divergence` reads in a batch.

    Args:
        cache: by sample.
        sample: its name.
        view: number of the view, from 0.
        checksum: of the view as the student is given it.
    Returns:
        log_probabilities: (k,); classes: (k,); log_remaining_mass: a number.
    Raises:
        IntegrityError: the cache lacks the sample, or the teachers were given another view.
    """
    if sample not in cache:
        raise IntegrityError(f"no soft labels for {sample}; run the soft_labels stage again (`dvc repro soft_labels`)")
    row = cache[sample]
    if checksum != row.checksums[view]:
        raise IntegrityError(
            f"view {view} of {sample} is not the one that the teachers were given: this machine reads or prepares "
            "samples otherwise than the one that wrote the soft labels; run that stage here (`dvc repro soft_labels`)"
        )
    return {
        "log_probabilities": row.log_probabilities[view].astype(np.float32),
        "classes": row.classes[view].astype(np.int64),
        "log_remaining_mass": np.float32(row.log_remaining_mass[view]),
    }


def divergence(logits: Tensor, batch: Mapping[str, Tensor], temperature: float) -> Tensor:
    """T² · KL(teachers ‖ student) of a batch of views, see `softlabels.topk.kl_divergence`.

    Args:
        logits: the student's, (batch, classes).
        batch: with the names of `view_targets`.
        temperature: T > 0.
    Returns:
        scalar, nats, mean over the batch.
    """
    return topk.kl_divergence(
        logits, batch["log_probabilities"], batch["classes"], batch["log_remaining_mass"], temperature
    )


def mean_probabilities(row: ClassLabels, classes: int) -> NDArray[np.float64]:
    """Probabilities of all classes, mean over a sample's views, the remaining mass spread evenly, (classes,)."""
    kept = topk.TopK(
        torch.from_numpy(row.log_probabilities.astype(np.float32)),
        torch.from_numpy(row.classes.astype(np.int64)),
        torch.from_numpy(row.log_remaining_mass.astype(np.float32)),
    )
    probabilities: NDArray[np.float64] = topk.densify(kept, classes).double().softmax(1).mean(0).numpy()
    return probabilities


def row_totals(row: ClassLabels) -> dict[str, float]:
    """Number of views, and the sums over them of the likeliest class's probability and of the remaining mass."""
    return {
        "views": len(row.checksums),
        "confidence": float(np.exp(row.log_probabilities[:, 0].astype(float)).sum()),
        "remaining_mass": float(np.exp(row.log_remaining_mass.astype(float)).sum()),
    }


def shard_metrics(rows: Sequence[tuple[str, Mapping[str, float]]]) -> dict[str, float]:
    """Samples and views of a shard, and what the teachers gave on average to the likeliest class and to the rest.

    Args:
        rows: each sample's name, which begins with the folder of its split, and its `row_totals`.
    """
    views = sum(totals["views"] for _, totals in rows)
    return {
        "images": len(rows),
        "unlabelled_images": sum(sample.startswith("unlabelled/") for sample, _ in rows),
        "views": views,
        "mean_confidence": sum(totals["confidence"] for _, totals in rows) / max(views, 1),
        "mean_remaining_mass": sum(totals["remaining_mass"] for _, totals in rows) / max(views, 1),
    }
