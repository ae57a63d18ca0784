"""Run the teacher once over the images that distillation needs, and keep what it finds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from alambique import layout
from alambique.config.heads import Heads
from alambique.errors import IntegrityError
from alambique.evaluation.measures import Metrics
from alambique.softlabels import writer
from alambique.tasks.cards import read_card
from alambique.tasks.detect.preprocess import DESCRIPTION, preprocess, restore
from alambique.tasks.heads import engines
from alambique.tasks.heads.answers import decode, points_of, rows_of, to_shares
from alambique.tasks.heads.pseudo import ShapeRecipe, SoftLabels, inside
from alambique.tasks.heads.shapes import Shapes

SPLITS = ("train", "unlabelled")


def soft_labels(project: Path, params: Heads, shard: int, target: Path) -> Metrics:
    """Write one shard of the cache, every n-th image from the shard's number on; see `Task.soft_labels`.

    Raises:
        IntegrityError: the teacher is not what its card says, or knows other classes than today's.
    """
    data = Shapes.of(project / layout.DATA, params.task)
    made = recipe(project, params, data)
    shards = len(params.soft_labels.shards)
    images = sorted(image for split in made.data for image in data.images(split))[shard::shards]
    counts: list[int] = []

    def counted(rows: Iterator[SoftLabels]) -> Iterator[SoftLabels]:
        for row in rows:
            counts.append(len(row.scores))
            yield row

    folder = project / layout.teacher(params.teachers[0])
    writer.write(target, counted(_look(folder, data, images, made)), made, shard, shards)
    unlabelled = set(data.images("unlabelled"))
    return {
        "images": len(images),
        "unlabelled_images": sum(image in unlabelled for image in images),
        "boxes": sum(counts),
        "boxes_per_image": sum(counts) / max(len(images), 1),
    }


def recipe(project: Path, params: Heads, data: Shapes) -> ShapeRecipe:
    """What the soft labels of today's images, teacher and parameters are made by.

    Raises:
        IntegrityError: the teacher is not what its card says, or knows other classes than today's.
    """
    folder = project / layout.teacher(params.teachers[0])
    card = read_card(folder)
    if card["classes"] != data.classes:
        raise IntegrityError(
            f"{folder} was trained for {card['classes']}, but the dataset's classes are {data.classes}; "
            "run the teacher stage again (`dvc repro teacher`)"
        )
    return ShapeRecipe(
        teachers=[card["sha256"]],
        combine="one",
        data={split: data.digest(split) for split in SPLITS if data.has(split)},
        preprocessing=DESCRIPTION,
        top_k=1,
        classes=data.classes,
        head=params.task,
        image_size=card["image_size"],
        numbers=points_of(params.task, data.kpt_shape),
        min_score=params.soft_labels.min_score,
        max_boxes=params.soft_labels.max_boxes,
    )


def _look(folder: Path, data: Shapes, images: list[Path], made: ShapeRecipe) -> Iterator[SoftLabels]:
    predict, (count, numbers) = engines.load(folder, torch.get_num_threads()), made.numbers
    for image in images:
        pixels, letterbox = preprocess(image, made.image_size)
        outputs = predict(pixels)
        rows = rows_of(outputs, len(data.classes), made.min_score, made.max_boxes)
        found = decode(made.head, outputs, rows, data.kpt_shape, made.image_size)
        yield SoftLabels(
            image=inside(data, image),
            boxes=restore(found.boxes, letterbox).astype(np.float16),
            scores=found.scores.astype(np.float16),
            classes=found.classes.astype(np.int16),
            points=to_shares(found.points, letterbox).reshape(len(rows), count * numbers).astype(np.float16),
        )
