"""A dataset of classified images as tables, and the expectations on them."""

from __future__ import annotations

import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import great_expectations.expectations as gxe

from alambique.data.contract import enough_by_class, every_split, one_split, usable_images
from alambique.data.dataset import LABELLED, SPLITS
from alambique.data.image_values import has_one_value
from alambique.data.manifest import FACTS, PLACE, class_counts, mark_shared, table
from alambique.errors import DataError
from alambique.files import sha256
from alambique.tasks.base import Facts
from alambique.tasks.images.dataset import Dataset
from alambique.tasks.images.preprocess import decode

IMAGES: dict[str, str] = {**PLACE, **FACTS, "found_in": "object"}
LABELS: dict[str, str] = {**PLACE, "class": "object"}


def facts(dataset: Dataset, min_images_per_class: int) -> Facts:
    """A row for every image, for every label, and for every class in each labelled split."""
    images: list[dict[str, Any]] = []
    labels: list[dict[str, Any]] = []
    for split in SPLITS:
        for image in dataset.images(split):
            place = {"split": split, "path": image.relative_to(dataset.root).as_posix()}
            images.append({**place, **_image_facts(image)})
            if split in LABELLED:
                labels.append({**place, "class": dataset.class_of(image)})
    mark_shared(images)
    per_class = Counter((row["split"], row["class"]) for row in labels)
    counts = class_counts("images", per_class, {name: name for name in dataset.classes})
    return Facts(
        {"images": table(images, IMAGES), "labels": table(labels, LABELS), "counts": counts},
        {
            "images": [
                every_split("images"),
                *usable_images(),
                one_split("image"),
            ],
            "labels": [
                gxe.ExpectColumnValuesToBeInSet(
                    column="class",
                    value_set=dataset.classes,
                    notes="every image lies in the folder of a class of data.yaml",
                )
            ],
            "counts": [enough_by_class("images", min_images_per_class)],
        },
        {
            "images": {split: sum(row["split"] == split for row in images) for split in dataset.folders},
            "classes": {name: sum(per_class[split, name] for split in LABELLED) for name in dataset.classes},
        },
    )


def _image_facts(path: Path) -> dict[str, Any]:
    """The columns of `manifest.FACTS`, by the decoder that trains on it."""
    facts: dict[str, Any] = {"readable": True, "bytes": path.stat().st_size, "sha256": sha256(path), "one_value": False}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image, facts["lost_values"] = decode(path)
    except DataError:
        return {**facts, "readable": False}
    return {**facts, "width": image.width, "height": image.height, "one_value": has_one_value(image)}
