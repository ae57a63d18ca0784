"""The data contract of images and boxes: Great Expectations' rules on the tables of `manifest`.

Add a rule to `suites` if it is about the whole dataset, to `file_suites` if it is about single files, as new ones are
checked by the latter, too. Other tasks have a contract of their own in their folder of `tasks/`, of the rules here that
every dataset is held to.
"""

from __future__ import annotations

from typing import Any

import great_expectations.expectations as gxe

from alambique.data.dataset import LABELLED, SPLITS
from alambique.data.expectations import Suites

MIN_SIDE = 10
"""Pixels. Ultralytics drops smaller images without failing, and the splits would no longer be what they say."""


def suites(classes: int, min_boxes_per_class: int) -> Suites:
    """Rules on a dataset that names so many classes: on its files, and that every split and class is there."""
    files = file_suites(classes)
    return {
        "images": [every_split("images"), *files["images"], one_split("image")],
        "boxes": files["boxes"],
        "counts": [enough_by_class("boxes", min_boxes_per_class)],
    }


def file_suites(classes: int) -> Suites:
    """Rules on each image file and each label file by itself."""
    return {
        "images": [
            *usable_images(),
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


def usable_images() -> list[Any]:
    """Rules on the columns of `manifest.image_facts`: readable as a whole, and large enough."""
    return [
        gxe.ExpectColumnValuesToBeInSet(
            column="readable", value_set=[True], notes="every image can be decoded to its last pixel"
        ),
        gxe.ExpectColumnValuesToBeNull(
            column="lost_values",
            notes="every image has 8 bits a channel and one page, as networks and devices read it; scale the values "
            "that matter to 0–255, or choose a page, and save it anew",
        ),
        *(
            gxe.ExpectColumnValuesToBeBetween(
                column=side, min_value=MIN_SIDE, notes=f"every image's {side} is at least {MIN_SIDE} pixels"
            )
            for side in ("width", "height")
        ),
    ]


def every_split(samples: str) -> Any:
    """The rule that no labelled split is empty; `samples` is what they are called, in the plural."""
    return gxe.ExpectColumnDistinctValuesToContainSet(
        column="split", value_set=list(LABELLED), notes=f"train, val and test each hold {samples}"
    )


def one_split(sample: str) -> Any:
    """The rule that no sample is in two splits, by the column `found_in`."""
    return gxe.ExpectColumnValuesToBeInSet(
        column="found_in", value_set=list(SPLITS), notes=f"no {sample} is in two splits"
    )


def enough_by_class(samples: str, least: int) -> Any:
    """The rule on a table of `manifest.class_counts`: at least so many in each labelled split."""
    key = f"validation.min_{samples}_per_class"
    return gxe.ExpectColumnValuesToBeBetween(
        column=samples,
        min_value=least,
        notes=f"every class has {samples} in each labelled split ({key}), at least {least}",
    )
