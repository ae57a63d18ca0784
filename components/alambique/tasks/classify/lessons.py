"""What a classifier learns from: views of labelled images, or views of all images with what teachers see in them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset as Samples

from alambique.config.classify import Augment, Distill
from alambique.errors import IntegrityError
from alambique.tasks.classification.loss import tempered_kl
from alambique.tasks.classify.cache import ViewLabels, ViewRecipe
from alambique.tasks.classify.dataset import Dataset
from alambique.tasks.classify.soft_labels import pool
from alambique.tasks.classify.views import View, Views
from alambique.tasks.training_loop import Batch, Lesson

UNKNOWN = -1
"""The label of an image that nobody labelled."""

Sample = dict[str, Any]


class Shown(Samples[Sample]):
    """An epoch's samples: some images, each in one of its views.

    Args:
        views: of all images.
        labels: class index of each, `UNKNOWN` where there is none.
        places: image and number of the view, for each sample.
        teacher: soft labels by the image's name; None: there is no teacher.
    """

    def __init__(
        self,
        views: Views,
        labels: list[int],
        places: list[tuple[int, int]],
        teacher: Mapping[str, ViewLabels] | None = None,
    ) -> None:
        self.views, self.labels, self.places, self.teacher = views, labels, places, teacher

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, position: int) -> Sample:
        """Pixels; the labels of the image and of the one mixed in; the image's own share; and what a teacher sees.

        Raises:
            IntegrityError: it saw another view.
        """
        index, number = self.places[position]
        view = self.views.view(index, number)
        sample = {
            "image": np.ascontiguousarray(view.pixels.transpose(2, 0, 1)),
            "label": self.labels[index],
            "other": self.labels[view.other],
            "share": np.float32(view.share),
        }
        if self.teacher is None:
            return sample
        return sample | _heard(self.teacher, self.views.names[index], view, number)


def by_label(data: Dataset, image_size: int, augment: Augment, length: int) -> Lesson:
    """The labelled images alone, over and over, each time in another view.

    Args:
        image_size: side of a view, pixels.
        augment: how views are drawn.
        length: samples of an epoch.
    """
    images = data.images("train")
    views = Views(images, [data.inside(image) for image in images], image_size, augment)
    labels = [data.label(image) for image in images]
    rounds = -(-length // len(images))

    def at(epoch: int) -> Shown:
        places = [(place % len(images), epoch * rounds + place // len(images)) for place in range(length)]
        return Shown(views, labels, places)

    def loss(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        return {"cross_entropy": cross_entropy(model(_planes(batch)), batch)}

    return Lesson(at, collate, loss, _identity("label", data, length, image_size, augment))


def by_soft_labels(data: Dataset, teacher: Mapping[str, ViewLabels], recipe: ViewRecipe, how: Distill) -> Lesson:
    """All images, in the views that teachers saw: a view of each in an epoch, the first again after the last.

    Args:
        teacher: soft labels by the image's name.
        recipe: how these were made.
        how: the loss's temperature and weights.
    """
    views = pool(data, recipe)
    labelled = data.images("train")
    labels = [data.label(image) for image in labelled] + [UNKNOWN] * (len(views) - len(labelled))

    def at(epoch: int) -> Shown:
        return Shown(views, labels, [(index, epoch % recipe.views) for index in range(len(views))], teacher)

    def loss(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        logits = model(_planes(batch))
        divergence = tempered_kl(logits, batch["logits"], batch["classes"], batch["rest"], how.temperature)
        parts = {"divergence": how.weight * divergence}
        if how.weight < 1:
            parts["cross_entropy"] = (1 - how.weight) * cross_entropy(logits, batch)
        return parts

    return Lesson(at, collate, loss, _identity("soft", data, recipe.digest(), how), ("divergence",))


def cross_entropy(logits: Tensor, batch: Batch) -> Tensor:
    """Of the labels, both of a mixed view in their shares; mean over what is labelled, 0 where nothing is."""
    total = logits.new_zeros(())
    weight = logits.new_zeros(())
    for label, share in ((batch["label"], batch["share"]), (batch["other"], 1 - batch["share"])):
        known = share * (label != UNKNOWN)
        total = total + (known * nn.functional.cross_entropy(logits, label.clamp(min=0), reduction="none")).sum()
        weight = weight + known.sum()
    return total / weight.clamp(min=1e-6)


def collate(samples: list[Sample]) -> Batch:
    """A batch of tensors, each of all samples."""
    return {name: torch.from_numpy(np.stack([sample[name] for sample in samples])) for name in samples[0]}


def _planes(batch: Batch) -> Tensor:
    return batch["image"].float() / 255


def _heard(teacher: Mapping[str, ViewLabels], name: str, view: View, number: int) -> Sample:
    if name not in teacher:
        raise IntegrityError(f"no soft labels for {name}; run the soft_labels stage again (`dvc repro soft_labels`)")
    row = teacher[name]
    if view.checksum != row.checksums[number]:
        raise IntegrityError(
            f"view {number} of {name} is not the one that the teacher saw: this machine decodes or scales images "
            "otherwise than the one that wrote the soft labels; run that stage here (`dvc repro soft_labels`)"
        )
    return {
        "logits": row.logits[number].astype(np.float32),
        "classes": row.classes[number].astype(np.int64),
        "rest": np.float32(row.rest[number]),
    }


def _identity(kind: str, data: Dataset, *known: object) -> str:
    splits = [data.digest(split) for split in ("train", "unlabelled") if data.has(split)]
    return hashlib.sha256(repr((kind, splits, known)).encode()).hexdigest()
