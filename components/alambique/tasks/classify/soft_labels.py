"""Run the teachers once over views of the images that students will be shown, and keep what they see there."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from alambique import layout
from alambique.config.classify import Params
from alambique.errors import IntegrityError
from alambique.evaluation.measures import Metrics
from alambique.softlabels import writer
from alambique.tasks.cards import read_card
from alambique.tasks.classify import network
from alambique.tasks.classify.cache import ViewLabels, ViewRecipe
from alambique.tasks.classify.dataset import Dataset
from alambique.tasks.classify.preprocess import DESCRIPTION, planes
from alambique.tasks.classify.views import Views

SPLITS = ("train", "unlabelled")
"""What students are shown."""
LEAST = -60.0
"""What the logarithm of the rest's probability is kept as where there is next to none, or no rest: a finite number."""
BATCH = 64
"""Views that a teacher is given at once, about."""


def soft_labels(project: Path, params: Params, shard: int, target: Path) -> Metrics:
    """Write one shard of the cache, every n-th image from the shard's number on; see `Task.soft_labels`.

    Raises:
        IntegrityError: a teacher is not what its card says, or knows other classes than today's.
    """
    data = Dataset.load(project / layout.DATA)
    made = recipe(project, params, data)
    views, shards = pool(data, made), len(params.soft_labels.shards)
    order = sorted(range(len(views)), key=views.names.__getitem__)[shard::shards]
    device = "cuda" if torch.cuda.is_available() else "cpu"
    weights = [project / layout.teacher(name) / layout.WEIGHTS for name in params.teachers]
    models = [network.load(path).model.to(device) for path in weights]
    tally = _Tally()
    writer.write(target, tally.count(look(models, views, order, made)), made, shard, shards)
    unlabelled = {data.inside(image) for image in data.images("unlabelled")}
    return {
        "images": len(order),
        "unlabelled_images": sum(views.names[index] in unlabelled for index in order),
        "views": tally.views,
        "mean_confidence": tally.confidence / max(tally.views, 1),
        "mean_rest": tally.rest / max(tally.views, 1),
    }


def pool(data: Dataset, recipe: ViewRecipe) -> Views:
    """The views of all images that students are shown, train's first: what is mixed in is drawn from all of them."""
    images = [image for split in SPLITS for image in data.images(split)]
    return Views(images, [data.inside(image) for image in images], recipe.image_size, recipe.augment)


def recipe(project: Path, params: Params, data: Dataset) -> ViewRecipe:
    """What the soft labels of today's images, teachers and parameters are made by.

    Raises:
        IntegrityError: a teacher is not what its card says, or knows other classes than today's.
    """
    cards = [read_card(project / layout.teacher(name)) for name in params.teachers]
    for name, card in zip(params.teachers, cards, strict=True):
        if card["classes"] != data.classes:
            raise IntegrityError(
                f"the teacher {name} knows the classes {card['classes']}, but the dataset's are {data.classes}; "
                "run the teacher stage again (`dvc repro teacher`)"
            )
    return ViewRecipe(
        teachers=[card["sha256"] for card in cards],
        combine="average",
        data={split: data.digest(split) for split in SPLITS if data.has(split)},
        preprocessing=DESCRIPTION,
        classes=data.classes,
        image_size=cards[0]["image_size"],
        **params.soft_labels.model_dump(include={"top_k", "views"}),
        augment=params.soft_labels.augment,
    )


def look(models: Sequence[nn.Module], views: Views, order: Sequence[int], recipe: ViewRecipe) -> Iterator[ViewLabels]:
    """The teachers' soft labels, image by image.

    Args:
        models: in evaluation mode.
        views: of all images.
        order: which of them, in this order.
        recipe: what to keep, and how many views of each.
    """
    together = max(BATCH // recipe.views, 1)
    for start in range(0, len(order), together):
        some = order[start : start + together]
        seen = [views.view(index, number) for index in some for number in range(recipe.views)]
        chances = expect(models, torch.from_numpy(np.stack([planes(view.pixels) for view in seen])))
        checksums = np.array([view.checksum for view in seen], np.uint32).reshape(len(some), -1)
        for place, index in enumerate(some):
            own = chances[place * recipe.views : (place + 1) * recipe.views]
            yield _keep(views.names[index], own, checksums[place], recipe)


@torch.inference_mode()
def expect(models: Sequence[nn.Module], images: Tensor) -> Tensor:
    """Log-probabilities of the classes, of several teachers the logarithm of their mean probabilities.

    Args:
        images: (batch, 3, size, size), RGB, 0 to 1.
    Returns:
        (batch, classes), on the CPU.
    """
    device = next(models[0].parameters()).device
    found = torch.stack([model(images.to(device)).float().log_softmax(1) for model in models])
    chances: Tensor = (found.logsumexp(0) - math.log(len(models))).cpu()
    return chances


def _keep(name: str, chances: Tensor, checksums: NDArray[np.uint32], recipe: ViewRecipe) -> ViewLabels:
    top = chances.topk(recipe.width, dim=1)
    others = chances.scatter(1, top.indices, -torch.inf).logsumexp(1).clamp(min=LEAST)
    return ViewLabels(
        image=name,
        logits=top.values.clamp(min=LEAST).numpy().astype(np.float16),
        classes=top.indices.numpy().astype(np.int16),
        rest=others.numpy().astype(np.float16),
        checksums=checksums,
    )


@dataclass
class _Tally:
    """Sums over the views that pass by."""

    views: int = 0
    confidence: float = 0.0
    rest: float = 0.0

    def count(self, seen: Iterator[ViewLabels]) -> Iterator[ViewLabels]:
        for row in seen:
            self.views += len(row.rest)
            self.confidence += float(np.exp(row.logits[:, 0].astype(float)).sum())
            self.rest += float(np.exp(row.rest.astype(float)).sum())
            yield row
