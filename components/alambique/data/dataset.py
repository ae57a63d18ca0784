"""A detection dataset in YOLO's layout, read-only: images/<split>, labels/<split> and data.yaml."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alambique.data.images import IMAGE_SUFFIXES, LABELLED, PRODUCTION_FOLDER, SPLITS, Images, class_names
from alambique.errors import DataError
from alambique.files import sha256

__all__ = ["IMAGE_SUFFIXES", "LABELLED", "PRODUCTION_FOLDER", "SPLITS", "Dataset", "class_names", "read_boxes"]


@dataclass(frozen=True)
class Dataset(Images):
    """Where a dataset's images and their boxes are."""

    def label(self, image: Path) -> Path:
        """Where an image's label file is, whether or not it exists: images/a/b.jpg → labels/a/b.txt."""
        inside = image.relative_to(self.root / "images")
        return (self.root / "labels" / inside).with_suffix(".txt")

    def boxes(self, image: Path) -> NDArray[np.float64]:
        """The boxes of an image, (n, 5): class index, then centre x, centre y, width, height in shares of the image.

        An image without a label file, or with an empty one, is background: (0, 5).

        Raises:
            DataError: a row is not five numbers; the message names file and line.
        """
        return read_boxes(self.label(image))

    def digest(self, split: str) -> str:
        """sha256 over the class names and the split's sorted image paths, their contents and their labels' contents."""
        digest = hashlib.sha256("".join(f"{name}\n" for name in self.classes).encode())
        for image in self.images(split):
            label = self.label(image)
            labels = sha256(label) if label.exists() else "-"
            digest.update(f"{sha256(image)} {labels} {image.relative_to(self.root).as_posix()}\n".encode())
        return digest.hexdigest()


def read_boxes(label: Path) -> NDArray[np.float64]:
    """Parse one label file; see `Dataset.boxes`.

    Raises:
        DataError: a row is not a whole class number and four finite numbers; the message names file and line.
    """
    rows: list[list[float]] = []
    if label.exists():
        # Undecodable bytes are replaced, so that the error below can name the line.
        for number, line in enumerate(label.read_text(errors="replace").splitlines(), start=1):
            if line.strip():
                rows.append(_row(line, f"{label}:{number}"))
    return np.array(rows, dtype=np.float64).reshape(-1, 5)


def _row(line: str, place: str) -> list[float]:
    try:
        row = [float(word) for word in line.split()]
    except ValueError:
        row = []
    if len(row) != 5 or not np.isfinite(row).all() or not row[0].is_integer():
        raise DataError(f"{place}: expected `class x y width height`, got {line.strip()[:80]!r}")
    return row
