"""Run the teacher once over the train and unlabelled images, and keep what it sees."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils.tal import dist2bbox, make_anchors

from alambique import layout
from alambique.config import Params
from alambique.data.dataset import Dataset
from alambique.softlabels import writer
from alambique.softlabels.key import Recipe
from alambique.softlabels.schema import SoftLabels
from alambique.tasks import Metrics
from alambique.tasks.detect import network, predict
from alambique.tasks.detect.preprocess import DESCRIPTION, Letterbox, preprocess, restore
from alambique.tasks.detect.samples import inside

SPLITS = ("train", "unlabelled")
"""What the teacher sees: val and test stay unseen by students."""

BATCH = 16


def soft_labels(project: Path, params: Params, shard: int, target: Path) -> Metrics:
    """Write one shard of the cache, every n-th image from the shard's number on; see `Task.soft_labels`."""
    data = Dataset.load(project / layout.DATA)
    folder = project / layout.teacher(params.teachers[0])
    recipe = Recipe(
        teacher_sha256=predict.read_card(folder)["sha256"],
        data=digests(data),
        preprocessing=DESCRIPTION,
        image_size=params.image_size,
        classes=data.classes,
        **params.soft_labels.model_dump(include={"min_score", "top_k", "max_boxes"}),
    )
    shards = len(params.soft_labels.shards)
    images = sorted(image for split in SPLITS for image in data.images(split))[shard::shards]
    tally = _Tally()
    model = network.load(folder / layout.WEIGHTS).eval().to("cuda" if torch.cuda.is_available() else "cpu")
    writer.write(target, tally.count(look(model, data, images, recipe)), recipe, shard, shards)
    unlabelled = set(data.images("unlabelled"))
    return {
        "images": len(images),
        "unlabelled_images": sum(image in unlabelled for image in images),
        "boxes": tally.boxes,
        "boxes_per_image": tally.boxes / max(len(images), 1),
        "mean_score": tally.scores / max(tally.boxes, 1),
    }


def digests(data: Dataset) -> dict[str, str]:
    """Of the images that the teacher sees, by split."""
    return {split: data.digest(split) for split in SPLITS if data.has(split)}


def look(model: DetectionModel, data: Dataset, images: list[Path], recipe: Recipe) -> Iterator[SoftLabels]:
    """The teacher's soft labels, image by image, in the order of `images`.

    Args:
        model: the teacher, in evaluation mode.
        data: the dataset of the images.
        images: files.
        recipe: what to keep.
    """
    for start in range(0, len(images), BATCH):
        batch = images[start : start + BATCH]
        inputs, places = zip(*(preprocess(image, recipe.image_size) for image in batch), strict=True)
        boxes, logits = predict_raw(model, torch.from_numpy(np.concatenate(inputs)))
        for index, image in enumerate(batch):
            yield _keep(inside(data, image), places[index], boxes[index], logits[index], recipe)


@torch.inference_mode()
def predict_raw(model: DetectionModel, images: Tensor) -> tuple[Tensor, Tensor]:
    """The one-to-one head before anything is suppressed: one box and one logit per class for each anchor.

    That head is trained to fire once per object, so what it gives needs no suppression.

    Args:
        model: in evaluation mode.
        images: (batch, 3, size, size), RGB, 0 to 1.
    Returns:
        boxes, x1, y1, x2, y2 in input pixels, (batch, anchors, 4); and class logits, (batch, anchors, classes); on the
        CPU, wherever the model is.
    """
    head = model(images.to(next(model.parameters()).device))[1]["one2one"]
    anchors, strides = make_anchors(head["feats"], model.stride, 0.5)
    boxes = dist2bbox(head["boxes"].permute(0, 2, 1), anchors, xywh=False) * strides
    return boxes.cpu(), head["scores"].permute(0, 2, 1).cpu()


def _keep(image: str, place: Letterbox, boxes: Tensor, logits: Tensor, recipe: Recipe) -> SoftLabels:
    """The best boxes of an image, best first, in its own coordinates, with their likeliest classes."""
    corners = restore(boxes.numpy(), place).astype(np.float16)
    scores = logits.amax(1).sigmoid()
    outside = (corners[:, 2:] <= corners[:, :2]).any(1)  # wholly in the border of the letterbox
    scores[torch.from_numpy(outside)] = -1
    order = scores.topk(min(recipe.max_boxes, len(scores))).indices
    order = order[scores[order] >= recipe.min_score]
    top = logits[order].topk(recipe.width, dim=1)
    return SoftLabels(
        image=image,
        boxes=corners[order.numpy()],
        logits=top.values.numpy().astype(np.float16),
        classes=top.indices.numpy().astype(np.int16),
        scores=scores[order].numpy().astype(np.float16),
    )


@dataclass
class _Tally:
    """Sums over the boxes that pass by: the cache is written in bounded memory, so nothing else may be kept of them."""

    boxes: int = 0
    scores: float = 0.0

    def count(self, seen: Iterator[SoftLabels]) -> Iterator[SoftLabels]:
        for image in seen:
            self.boxes += len(image.scores)
            self.scores += float(image.scores.sum(dtype=float))
            yield image
