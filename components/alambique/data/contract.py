"""The data contract of images and boxes: Great Expectations' rules on the tables of `manifest`.

Add a rule to `suites` if it is about the whole dataset, to `file_suites` if it is about single files, as new ones are
checked by the latter, too. Other tasks have a contract of their own in their folder of `tasks/`.
"""

from __future__ import annotations

from typing import Any

import great_expectations.expectations as gxe

from alambique.data.dataset import LABELLED, SPLITS
from alambique.data.expectations import Suites

MIN_SIDE = 10
"""Pixels. Ultralytics drops smaller images without failing, and the splits would no longer be what they say."""


def suites(classes: int, min_boxes_per_class: int) -> Suites:
    """Rules on a dataset: on its files, and that every split and class is there.

    Args:
        classes: how many classes the dataset names.
        min_boxes_per_class: in each labelled split.
    """
    files = file_suites(classes)
    return {
        "images": [*in_splits("image"), *files["images"]],
        "boxes": files["boxes"],
        "counts": enough("boxes", min_boxes_per_class),
    }


def in_splits(sample: str) -> list[Any]:
    """That every labelled split has samples, and none is in two.

    Args:
        sample: what they are, in the singular.
    """
    return [
        gxe.ExpectColumnDistinctValuesToContainSet(
            column="split", value_set=list(LABELLED), notes=f"train, val and test each hold {sample}s"
        ),
        gxe.ExpectColumnValuesToBeInSet(
            column="found_in", value_set=list(SPLITS), notes=f"no {sample} is in two splits"
        ),
    ]


def enough(counted: str, least: int) -> list[Any]:
    """That each labelled split has at least `least` of each class, by the column `counted`."""
    notes = f"every class has {counted} in each labelled split, at least {least}"
    return [gxe.ExpectColumnValuesToBeBetween(column=counted, min_value=least, notes=notes)]


def files_are_images() -> list[Any]:
    """That every file can be decoded and is large enough."""
    readable = gxe.ExpectColumnValuesToBeInSet(
        column="readable", value_set=[True], notes="every image can be decoded to its last pixel"
    )
    sides = [
        gxe.ExpectColumnValuesToBeBetween(
            column=side, min_value=MIN_SIDE, notes=f"every image's {side} is at least {MIN_SIDE} pixels"
        )
        for side in ("width", "height")
    ]
    return [readable, *sides]


def file_suites(classes: int) -> Suites:
    """Rules on each image file and each label file by itself."""
    return {
        "images": [
            *files_are_images(),
            gxe.ExpectColumnValuesToBeNull(column="label_error", notes="every label row can be read"),
        ],
        "boxes": [
            gxe.ExpectColumnValuesToBeInSet(
                column="class", value_set=list(range(classes)), notes="every box is of a class that data.yaml names"
            ),
            gxe.ExpectColumnValuesToBeInSet(column="inside", value_set=[True], notes="every box lies inside its image"),
            gxe.ExpectColumnValuesToBeBetween(
                column="area", min_value=0, strict_min=True, notes="every box has a positive width and height"
            ),
        ],
    }
