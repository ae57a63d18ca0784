"""Facts about a dataset's files and boxes, as tables: the input of the data contract, see `contract`."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from alambique.data.dataset import LABELLED, SPLITS, Dataset, repeated_rows
from alambique.data.image_values import has_one_value, lost_values
from alambique.errors import DataError
from alambique.files import sha256

READ_ALIKE = {
    (kind, mode)
    for kind, modes in {
        "BMP": ("1", "L", "P", "RGB"),
        "JPEG": ("L", "RGB"),
        "PNG": ("1", "L", "LA", "P", "RGB", "RGBA"),
        "WEBP": ("RGB", "RGBA"),
    }.items()
    for mode in modes
}
"""Formats and modes that Pillow and OpenCV both read; any other is tried with the reader of training."""

PLACE = {"split": "object", "path": "object"}
FACTS = {
    "readable": "bool",
    "width": "Int64",  # absent when the image is unreadable
    "height": "Int64",
    "bytes": "int64",
    "sha256": "object",
    "one_value": "bool",  # in every pixel, of each channel
    "lost_values": "object",  # what readers would lose of it, in words
}
"""Types of the columns of `image_facts`."""
IMAGES: dict[str, str] = {
    **PLACE,
    **FACTS,
    "label_error": "object",
    "repeated_rows": "int64",
    "found_in": "object",
}
BOXES: dict[str, str] = {
    **PLACE,
    "class": "int64",
    **dict.fromkeys(("x1", "y1", "x2", "y2", "area"), "float64"),
    "inside": "bool",
}


@dataclass(frozen=True)
class Manifest:
    """Three tables; the column `path` identifies a row in messages.

    Attributes:
        images: a row per image. `label_error` says why its labels cannot be read, `repeated_rows` how many of them
            are there again and count once; `found_in` lists every split that holds the same bytes.
        boxes: a row per readable box, corners and area in shares of the image. `inside` allows a pixel of slack.
        counts: a row per labelled split and class, `path` being split/class.
    """

    images: pd.DataFrame
    boxes: pd.DataFrame
    counts: pd.DataFrame

    @property
    def tables(self) -> dict[str, pd.DataFrame]:
        """All three, for `expectations.judge`."""
        return {"images": self.images, "boxes": self.boxes, "counts": self.counts}


def build(dataset: Dataset) -> Manifest:
    """Read every image and label of `dataset`. A broken file becomes a row that says so."""
    images: list[dict[str, Any]] = []
    boxes: list[dict[str, Any]] = []
    for split in SPLITS:
        for path in dataset.images(split):
            image = {"split": split, "path": path.relative_to(dataset.root).as_posix(), **image_facts(path)}
            image["repeated_rows"] = repeated_rows(dataset.label(path)) if split in LABELLED else 0
            rows, image["label_error"] = _labels(dataset, path) if split in LABELLED else (np.empty((0, 5)), None)
            images.append(image)
            boxes += [_box(image, row) for row in rows]
    mark_shared(images)
    per_class = Counter((box["split"], box["class"]) for box in boxes)
    counts = class_counts("boxes", per_class, dict(enumerate(dataset.classes)))
    return Manifest(table(images, IMAGES), table(boxes, BOXES), counts)


def counts(dataset: Dataset, facts: Manifest) -> dict[str, Any]:
    """How many images and boxes each split holds, and how many boxes each class has."""
    boxes = facts.boxes
    return {
        "images": {split: int((facts.images["split"] == split).sum()) for split in dataset.folders},
        "boxes": {split: int((boxes["split"] == split).sum()) for split in LABELLED},
        "classes": {name: int((boxes["class"] == index).sum()) for index, name in enumerate(dataset.classes)},
    }


def image_facts(path: Path) -> dict[str, Any]:
    """The columns of one image file, also of one that cannot be read."""
    facts: dict[str, Any] = {"readable": True, "width": None, "height": None}
    facts |= {"bytes": path.stat().st_size, "sha256": sha256(path), "one_value": False, "lost_values": None}
    try:
        # Only decoding every pixel detects a truncated file; opening reads the header alone.
        with warnings.catch_warnings(), Image.open(path) as image:
            warnings.simplefilter("ignore")
            facts["lost_values"] = lost_values(image)
            image.load()
            facts["width"], facts["height"] = image.size
            facts["one_value"] = facts["lost_values"] is None and has_one_value(image)
            if facts["lost_values"] is None and (image.format, image.mode) not in READ_ALIKE:
                image.convert("L")  # what near-duplicates are told by; Pillow converts no LAB
                facts["readable"] = _is_read_in_training(path)
    # The bytes are whoever's, and decoders raise whatever comes: struct.error, KeyError, ImportError, …
    except Exception:
        facts["readable"] = False
    return facts


def _is_read_in_training(path: Path) -> bool:
    """Whether Ultralytics' own reader gives the 8-bit pixels that networks are trained and measured on."""
    from ultralytics.utils.patches import imread

    pixels = imread(path)
    return pixels is not None and pixels.dtype == np.uint8


def _labels(dataset: Dataset, image: Path) -> tuple[NDArray[np.float64], str | None]:
    try:
        return dataset.boxes(image), None
    except DataError as error:
        return np.empty((0, 5)), str(error).removeprefix(f"{dataset.root}/")


def _box(image: dict[str, Any], row: NDArray[np.float64]) -> dict[str, Any]:
    x, y, width, height = row[1:]
    x1, y1, x2, y2 = x - width / 2, y - height / 2, x + width / 2, y + height / 2
    # Annotation tools that count pixels from one, or round, overshoot the border by up to a pixel.
    slack_x, slack_y = 1 / (image["width"] or 1), 1 / (image["height"] or 1)
    return {
        "split": image["split"],
        "path": image["path"],
        "class": int(row[0]),
        **{"x1": x1, "y1": y1, "x2": x2, "y2": y2},
        "area": width * height if min(width, height) > 0 else 0.0,
        "inside": min(x1, 1 - x2) >= -slack_x and min(y1, 1 - y2) >= -slack_y,
    }


def mark_shared(images: list[dict[str, Any]]) -> None:
    """Add `found_in` to rows: every split that holds the same bytes."""
    splits: dict[str, list[str]] = {}
    for image in images:
        held = splits.setdefault(image["sha256"], [])
        if image["split"] not in held:
            held.append(image["split"])
    for image in images:
        image["found_in"] = ", ".join(splits[image["sha256"]])


def class_counts(samples: str, counts: Counter[tuple[str, Any]], classes: Mapping[Any, str]) -> pd.DataFrame:
    """A row per labelled split and class, `path` being split/class.

    Args:
        samples: the column of the numbers.
        counts: by split and class, as the keys of `classes` name it.
        classes: their names.
    """
    rows = [
        {"split": split, "path": f"{split}/{name}", samples: counts[split, key]}
        for split in LABELLED
        for key, name in classes.items()
    ]
    return table(rows, {**PLACE, samples: "int64"})


def table(rows: list[dict[str, Any]], columns: dict[str, str]) -> pd.DataFrame:
    """Rows as a table with these columns and types, also without rows."""
    return pd.DataFrame(rows, columns=list(columns)).astype(columns)
