"""What image classifiers are trained on, labels or the teachers' soft labels, and the accuracy on val meanwhile."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from alambique.config.classify import Augment, Distill
from alambique.tasks.classifiers.soft_labels import (
    UNLABELLED,
    ClassLabels,
    digests,
    distillation_loss,
    view_targets,
)
from alambique.tasks.classifiers.validation import Val
from alambique.tasks.images.dataset import Dataset
from alambique.tasks.images.preprocess import square
from alambique.tasks.images.soft_labels import ViewRecipe, views_of_all
from alambique.tasks.images.views import Views
from alambique.tasks.training_loop import Batch, TrainingObjective

BATCH = 64
"""Val images that are measured at once."""


class ViewDataset:
    """Some images, each in one of its views.

    Args:
        views: of all images.
        labels: class index of each image, `UNLABELLED` where there is none.
        number: of the view.
        cache: soft labels by the image's name; None: there is no teacher.
    """

    def __init__(
        self,
        views: Views,
        labels: list[int],
        number: int,
        cache: Mapping[str, ClassLabels] | None = None,
    ) -> None:
        self.views, self.labels, self.number, self.cache = views, labels, number, cache

    def __len__(self) -> int:
        return len(self.views)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Pixels; labels of the image and of the one mixed in; the image's own share; the teachers' targets.

        Raises:
            IntegrityError: the teachers were given another view.
        """
        view = self.views.view(index, self.number)
        sample = {
            "image": np.ascontiguousarray(view.pixels.transpose(2, 0, 1)),
            "label": self.labels[index],
            "other": self.labels[view.other],
            "share": np.float32(view.share),
        }
        if self.cache is None:
            return sample
        return sample | view_targets(self.cache, self.views.names[index], self.number, view.checksum)


def by_labels(dataset: Dataset, image_size: int, augment: Augment) -> TrainingObjective:
    """The labelled images alone, in every epoch in another view of `image_size` pixels."""
    images = dataset.images("train")
    views = Views(images, [dataset.inside(image) for image in images], image_size, augment)
    labels = [dataset.label(image) for image in images]

    def epoch_dataset(epoch: int) -> ViewDataset:
        return ViewDataset(views, labels, epoch)

    def loss(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        return {"cross_entropy": cross_entropy(model(scaled(batch)), batch)}

    return TrainingObjective(epoch_dataset, collate, loss, _identity("label", dataset, image_size, augment))


def by_soft_labels(
    dataset: Dataset, cache: Mapping[str, ClassLabels], recipe: ViewRecipe, distill: Distill
) -> TrainingObjective:
    """All images, in the views that the teachers were given: one view of each in an epoch, the first after the last."""
    views = views_of_all(dataset, recipe)
    labelled = dataset.images("train")
    labels = [dataset.label(image) for image in labelled] + [UNLABELLED] * (len(views) - len(labelled))

    def epoch_dataset(epoch: int) -> ViewDataset:
        return ViewDataset(views, labels, epoch % recipe.views, cache)

    def loss(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        return distillation_loss(model(scaled(batch)), batch, distill, cross_entropy)

    return TrainingObjective(
        epoch_dataset, collate, loss, _identity("soft", dataset, recipe.digest(), distill), ("divergence",)
    )


def cross_entropy(logits: Tensor, batch: Batch) -> Tensor:
    """Of the labels, both of a mixed view in their shares; mean over what is labelled, 0 where nothing is.

    Args:
        logits: (batch, classes).
        batch: label, other: class indices or `UNLABELLED`, (batch,); share: of the view that is the image's own.
    Returns:
        scalar, nats.
    """
    total, weight = logits.new_zeros(()), logits.new_zeros(())
    for label, share in ((batch["label"], batch["share"]), (batch["other"], 1 - batch["share"])):
        labelled = share * (label != UNLABELLED)
        losses = nn.functional.cross_entropy(logits, label.clamp(min=0), reduction="none")
        total = total + (labelled * losses).sum()
        weight = weight + labelled.sum()
    return total / weight.clamp(min=1e-6)


def val(dataset: Dataset, image_size: int) -> Val:
    """Val, whose images are read once.

    Raises:
        DataError: it is empty, or an image of it is broken or in the folder of no class.
    """
    images = dataset.require("val")
    labels = torch.tensor([dataset.label(image) for image in images])
    pixels = torch.from_numpy(np.stack([square(image, image_size).transpose(2, 0, 1) for image in images]))

    def log_probabilities(model: nn.Module) -> Tensor:
        device = next(model.parameters()).device
        batches = (pixels[start : start + BATCH].to(device) for start in range(0, len(pixels), BATCH))
        return torch.cat([model(batch.float() / 255).float().cpu() for batch in batches]).log_softmax(1)

    return Val(labels, log_probabilities)


def collate(samples: list[dict[str, Any]]) -> Batch:
    """A batch of tensors, each of all samples."""
    return {name: torch.from_numpy(np.stack([sample[name] for sample in samples])) for name in samples[0]}


def scaled(batch: Batch) -> Tensor:
    """A network's input, 0 to 1, from a batch's bytes, (batch, 3, size, size)."""
    return batch["image"].float() / 255


def _identity(kind: str, dataset: Dataset, *settings: object) -> str:
    return hashlib.sha256(repr((kind, list(digests(dataset).values()), settings)).encode()).hexdigest()
