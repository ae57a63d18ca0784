"""Run the teachers once over the images that distillation needs, and keep what they see, as one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchvision.ops import nms
from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils.tal import dist2bbox, make_anchors

from alambique import layout
from alambique.config.detect import Params
from alambique.data.dataset import Dataset
from alambique.errors import IntegrityError
from alambique.evaluation.measures import Metrics
from alambique.softlabels import writer
from alambique.tasks.cards import read_card
from alambique.tasks.detect import network
from alambique.tasks.detect.boxes import BoxRecipe, SoftLabels
from alambique.tasks.detect.combine import Found, choose_experts, combine
from alambique.tasks.detect.preprocess import DESCRIPTION, Letterbox, preprocess, restore
from alambique.tasks.detect.samples import inside
from alambique.tasks.detect.suppression import IOU

SPLITS = ("train", "unlabelled", "val")
"""What the teachers see. No student sees val or test: the boxes of val tell how far the teachers can be trusted."""

BATCH = 16


def soft_labels(project: Path, params: Params, shard: int, target: Path) -> Metrics:
    """Write one shard of the cache, every n-th image from the shard's number on; see `Task.soft_labels`.

    Raises:
        IntegrityError: a teacher is not what its card says, or knows other classes than today's.
    """
    data = Dataset.load(project / layout.DATA)
    made = recipe(project, params, data)
    shards = len(params.soft_labels.shards)
    images = sorted(image for split in made.data for image in data.images(split))[shard::shards]
    tally = _Tally()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    weights = [project / layout.teacher(name) / layout.WEIGHTS for name in params.teachers]
    models = [network.load(path).eval().to(device) for path in weights]
    writer.write(target, tally.count(look(models, data, images, made)), made, shard, shards)
    unlabelled = set(data.images("unlabelled"))
    return {
        "images": len(images),
        "unlabelled_images": sum(image in unlabelled for image in images),
        "boxes": tally.boxes,
        "boxes_per_image": tally.boxes / max(len(images), 1),
        "mean_score": tally.scores / max(tally.boxes, 1),
    }


def recipe(project: Path, params: Params, data: Dataset) -> BoxRecipe:
    """What the soft labels of today's images, teachers and parameters are made by.

    Raises:
        IntegrityError: a teacher is not what its card says, or knows other classes than today's.
    """
    cards = [_card(project / layout.teacher(name), data.classes) for name in params.teachers]
    by_class = params.soft_labels.combine == "best_per_class"
    return BoxRecipe(
        teachers=[card["sha256"] for card in cards],
        experts=choose_experts(cards, data.classes) if by_class else None,
        data={split: data.digest(split) for split in SPLITS if data.has(split)},
        preprocessing=DESCRIPTION,
        image_sizes=[card["image_size"] for card in cards],
        classes=data.classes,
        **params.soft_labels.model_dump(include={"combine", "top_k", "min_score", "max_boxes"}),
    )


def look(
    models: Sequence[DetectionModel], data: Dataset, images: list[Path], recipe: BoxRecipe
) -> Iterator[SoftLabels]:
    """The teachers' soft labels, image by image, in the order of `images`.

    Args:
        models: the teachers in the recipe's order, in evaluation mode.
        data: the dataset of the images.
        images: files.
        recipe: what to keep, and how several teachers' boxes become one's.
    """
    for start in range(0, len(images), BATCH):
        batch = images[start : start + BATCH]
        answers = [_answers(model, batch, size, recipe) for model, size in zip(models, recipe.image_sizes, strict=True)]
        for image, *found in zip(batch, *answers, strict=True):
            one = found[0] if len(found) == 1 else _surest(combine(found, recipe.experts), recipe)
            yield _keep(inside(data, image), one, recipe)


def _answers(model: DetectionModel, images: list[Path], image_size: int, recipe: BoxRecipe) -> list[Found]:
    """One teacher's best boxes of each image."""
    inputs, places = zip(*(preprocess(image, image_size) for image in images), strict=True)
    boxes, logits = predict_raw(model, torch.from_numpy(np.concatenate(inputs)))
    suppress = not network.has_one_to_one(model)
    return [_find(*each, recipe, suppress) for each in zip(boxes, logits, places, strict=True)]


@torch.inference_mode()
def predict_raw(model: DetectionModel, images: Tensor) -> tuple[Tensor, Tensor]:
    """What the head gives before anything is suppressed: one box and one logit per class for each anchor.

    A one-to-one head, where there is one, is trained to fire once per object, so what it gives needs no suppression.

    Args:
        model: in evaluation mode.
        images: (batch, 3, size, size), RGB, 0 to 1.
    Returns:
        boxes, x1, y1, x2, y2 in input pixels, (batch, anchors, 4); and class logits, (batch, anchors, classes); on the
        CPU, wherever the model is.
    """
    heads = model(images.to(next(model.parameters()).device))[1]
    head = heads["one2one"] if network.has_one_to_one(model) else heads
    anchors, strides = make_anchors(head["feats"], model.stride, 0.5)
    distances = model.model[-1].dfl(head["boxes"])
    boxes = dist2bbox(distances.permute(0, 2, 1), anchors, xywh=False) * strides
    return boxes.cpu(), head["scores"].permute(0, 2, 1).cpu()


def _card(folder: Path, classes: list[str]) -> dict[str, Any]:
    """A teacher's card, verified."""
    card = read_card(folder)
    if card["classes"] != classes:
        raise IntegrityError(
            f"the teacher in {folder} knows the classes {card['classes']}, but the dataset's are {classes}; "
            "run the teacher stage again (`dvc repro teacher`)"
        )
    return card


def _find(boxes: Tensor, logits: Tensor, place: Letterbox, recipe: BoxRecipe, suppress: bool) -> Found:
    """A teacher's best boxes of an image, best first, in the image's own coordinates."""
    corners = restore(boxes.numpy(), place)
    kept = corners.astype(np.float16)
    outside = (kept[:, 2:] <= kept[:, :2]).any(1)  # wholly in the border of the letterbox
    found = Found(torch.from_numpy(corners), logits).take(torch.from_numpy(~outside))
    if suppress:
        found = found.take(found.scores >= recipe.min_score)
        # Whatever their classes: a box has the logits of all of them, so a second one there would say the same twice.
        found = found.take(nms(found.boxes, found.scores, IOU))
    return _surest(found, recipe)


def _surest(found: Found, recipe: BoxRecipe) -> Found:
    scores = found.scores
    order = scores.topk(min(recipe.max_boxes, len(scores))).indices
    return found.take(order[scores[order] >= recipe.min_score])


def _keep(image: str, found: Found, recipe: BoxRecipe) -> SoftLabels:
    """An image's row of the cache: its boxes with their likeliest classes."""
    top = found.logits.topk(recipe.width, dim=1)
    return SoftLabels(
        image=image,
        boxes=found.boxes.numpy().astype(np.float16),
        logits=top.values.numpy().astype(np.float16),
        classes=top.indices.numpy().astype(np.int16),
        scores=found.scores.numpy().astype(np.float16),
    )


@dataclass
class _Tally:
    """Sums over the boxes that pass by: the cache is written in bounded memory, so nothing else may be kept of them."""

    boxes: int = 0
    scores: float = 0.0

    def count(self, seen: Iterator[SoftLabels]) -> Iterator[SoftLabels]:
        for image in seen:
            self.boxes += image.scores.size
            self.scores += float(image.scores.sum(dtype=float))
            yield image
