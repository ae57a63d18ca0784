"""A dataset of classified images as tables, and the expectations on them."""

from __future__ import annotations

from collections import Counter
from typing import Any

import great_expectations.expectations as gxe

from alambique.data.contract import enough, files_are_images, in_splits
from alambique.data.images import LABELLED, SPLITS
from alambique.data.manifest import image_facts, mark_shared, table
from alambique.tasks.base import Facts
from alambique.tasks.images.dataset import Dataset

IMAGES: dict[str, str] = {
    "split": "object",
    "path": "object",
    "readable": "bool",
    "width": "Int64",  # absent when the image is unreadable
    "height": "Int64",
    "bytes": "int64",
    "sha256": "object",
    "found_in": "object",
}
LABELS: dict[str, str] = {"split": "object", "path": "object", "class": "object"}
COUNTS: dict[str, str] = {"split": "object", "path": "object", "images": "int64"}


def facts(dataset: Dataset, min_images_per_class: int) -> Facts:
    """A row for every image, for every label, and for every class in each labelled split.

    Args:
        min_images_per_class: in each labelled split.
    """
    images: list[dict[str, Any]] = []
    labels: list[dict[str, Any]] = []
    for split in SPLITS:
        for image in dataset.images(split):
            place = {"split": split, "path": image.relative_to(dataset.root).as_posix()}
            images.append({**place, **image_facts(image)})
            if split in LABELLED:
                labels.append({**place, "class": dataset.class_of(image)})
    mark_shared(images)
    per_class = Counter((row["split"], row["class"]) for row in labels)
    counts = [
        {"split": split, "path": f"{split}/{name}", "images": per_class[split, name]}
        for split in LABELLED
        for name in dataset.classes
    ]
    return Facts(
        {"images": table(images, IMAGES), "labels": table(labels, LABELS), "counts": table(counts, COUNTS)},
        _expectations(dataset.classes, min_images_per_class),
        {
            "images": {split: sum(row["split"] == split for row in images) for split in dataset.folders},
            "classes": {name: sum(per_class[split, name] for split in LABELLED) for name in dataset.classes},
        },
    )


def _expectations(classes: list[str], min_images_per_class: int) -> dict[str, list[Any]]:
    named = gxe.ExpectColumnValuesToBeInSet(
        column="class", value_set=classes, notes="every image lies in the folder of a class of data.yaml"
    )
    images = [*in_splits("image"), *files_are_images()]
    return {"images": images, "labels": [named], "counts": enough("images", min_images_per_class)}
