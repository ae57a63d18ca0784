"""Small caches of made-up soft labels."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from alambique.softlabels import writer
from alambique.softlabels.schema import Recipe
from alambique.tasks.yolo.soft_label_rows import BoxLabels, BoxRecipe

CLASSES = ["cat", "dog", "eel"]
DATA = {"train": "t" * 64, "unlabelled": "u" * 64}
RECIPE = BoxRecipe(
    teachers=["a" * 64, "b" * 64],
    combine="average",
    experts=None,
    data=DATA,
    preprocessing={"padding": 114},
    image_sizes=[64],
    top_k=2,
    min_score=0.05,
    max_boxes=10,
    classes=CLASSES,
)


def labels(image: str, boxes: int, seed: int = 0) -> BoxLabels:
    random = np.random.default_rng(seed)
    corners = random.random((boxes, 2)) / 2
    logits = -np.sort(-random.normal(size=(boxes, RECIPE.width)))
    return BoxLabels(
        image=image,
        boxes=np.hstack((corners, corners + 0.25)).astype(np.float16),
        logits=logits.astype(np.float16),
        classes=random.permuted(np.tile(np.arange(3, dtype=np.int16), (boxes, 1)), axis=1)[:, : RECIPE.width],
        scores=(1 / (1 + np.exp(-logits[:, 0]))).astype(np.float16),
    )


IMAGES = [labels(f"train/{index:02d}.png", boxes=index % 3, seed=index) for index in range(9)]


def write(folder: Path, rows: Iterable[Any] = IMAGES, recipe: Recipe[Any] = RECIPE, shards: int = 2) -> Path:
    for shard in range(shards):
        (folder / str(shard)).mkdir(parents=True)
        writer.write(folder / str(shard), islice(rows, shard, None, shards), recipe, shard, shards)
    return folder
