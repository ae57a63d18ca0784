"""Soft labels of classifiers: the top-k of the teachers' distribution over classes, for each view of a sample.

A view is what a teacher is given of a sample: a random crop of an image; the text itself, which has one view.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from alambique.config.classify import Distill
from alambique.errors import IntegrityError
from alambique.softlabels import schema, topk
from alambique.softlabels.schema import Recipe
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
        return ClassLabels

    def describe(self) -> dict[str, str]:
        """What is kept of each view, in words; an IntegrityError if one is of two samples, and tells of neither."""
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
    """Logarithm of the teachers' mean probabilities: from (teachers, n, classes) to (n, classes), nats."""
    return log_probabilities.logsumexp(0) - math.log(len(log_probabilities))


def keep(sample: str, log_probabilities: Tensor, checksums: Sequence[int], recipe: ClassRecipe) -> ClassLabels:
    """A sample's row of the cache, from the log-probabilities of all classes, (v, classes), and its v checksums."""
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
        classes: of the dataset; none where it has none.
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
    """The teachers' distribution for one view, under the names that `distillation_loss` reads in a batch.

    Args:
        view: its number, from 0.
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


def distillation_loss(
    logits: Tensor,
    batch: dict[str, Tensor],
    distill: Distill,
    cross_entropy: Callable[[Tensor, dict[str, Tensor]], Tensor],
) -> dict[str, Tensor]:
    """The divergence from the teachers (see `softlabels.topk.kl_divergence`) and the cross-entropy, both weighted.

    Args:
        logits: the student's, (batch, classes).
        batch: with the names of `view_targets`.
        cross_entropy: of the logits and the batch's labels.
    Returns:
        scalars, nats, means over the batch.
    """
    teacher = (batch["log_probabilities"], batch["classes"], batch["log_remaining_mass"])
    parts = {"divergence": distill.weight * topk.kl_divergence(logits, *teacher, distill.temperature)}
    if distill.weight < 1:
        parts["cross_entropy"] = (1 - distill.weight) * cross_entropy(logits, batch)
    return parts


def mean_probabilities(row: ClassLabels, classes: int) -> NDArray[np.float64]:
    """Probabilities of all classes, mean over a sample's views, the remaining mass spread evenly, (classes,)."""
    kept = topk.TopK(
        torch.from_numpy(row.log_probabilities.astype(np.float32)),
        torch.from_numpy(row.classes.astype(np.int64)),
        torch.from_numpy(row.log_remaining_mass.astype(np.float32)),
    )
    probabilities: NDArray[np.float64] = topk.densify(kept, classes).double().softmax(1).mean(0).numpy()
    return probabilities
