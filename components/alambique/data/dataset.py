"""Datasets in YOLO's layout, read-only: images/<split>, and a data.yaml with splits and classes; labels/<split>."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import yaml
from numpy.typing import NDArray

from alambique.errors import DataError
from alambique.files import sha256

LABELLED = ("train", "val", "test")
SPLITS = (*LABELLED, "unlabelled")
DESCRIPTION = "data.yaml"
PRODUCTION_FOLDER = "field"
"""Folder inside the unlabelled split with the production images that joined after drift."""
IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})


@dataclass(frozen=True)
class Images:
    """A dataset of images; each task adds its labels.

    Attributes:
        root: the folder of data.yaml.
        classes: names by class index.
        folders: each split's folder of images, relative to `root` and beginning with `images`.
    """

    root: Path
    classes: list[str]
    folders: dict[str, Path]

    @classmethod
    def load(cls, root: Path) -> Self:
        """Read `root`/data.yaml; a DataError if it is missing, not YAML, or not of the canonical layout."""
        source = root / DESCRIPTION
        content = read_description(source, "it needs train, val, test and names")
        folders = {split: Path(str(content[split])) for split in SPLITS if content.get(split)}
        for split, folder in folders.items():
            if folder.is_absolute() or folder.parts[:1] != ("images",) or ".." in folder.parts:
                raise DataError(f"{source}: {split}: {folder} is not a folder below images/, as in images/{split}")
        return cls(root, class_names(content.get("names"), source), folders)

    def has(self, split: str) -> bool:
        """Whether the dataset names this split."""
        return split in self.folders

    def labelled(self) -> Self:
        """The same dataset without its unlabelled split."""
        return replace(self, folders={split: self.folders[split] for split in LABELLED if self.has(split)})

    def images(self, split: str) -> list[Path]:
        """The images of a split, sorted by path; none if the dataset lacks the split."""
        if not self.has(split):
            return []
        folder = self.root / self.folders[split]
        return sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)

    def production_images(self) -> list[Path]:
        """The unlabelled production images that joined after drift; see `images`."""
        if not self.has("unlabelled"):
            return []
        folder = self.root / self.folders["unlabelled"] / PRODUCTION_FOLDER
        return [path for path in self.images("unlabelled") if path.is_relative_to(folder)]

    def inside(self, image: Path) -> str:
        """An image's path inside `root`/images, the key of caches and results."""
        return image.relative_to(self.root / "images").as_posix()


def read_description(source: Path, needs: str) -> dict[str, Any]:
    """The mapping in a data.yaml.

    Args:
        needs: what it should hold, for the message.
    Raises:
        DataError: it is missing, not YAML, or no mapping.
    """
    try:
        content = yaml.safe_load(source.read_text())
    except OSError as error:
        raise DataError(f"cannot read {source}: {error.strerror}; is the dataset pulled (`dvc pull`)?") from None
    except yaml.YAMLError as error:
        raise DataError(f"{source} is not YAML: {error}") from None
    if not isinstance(content, dict):
        raise DataError(f"{source} holds no mapping; {needs}")
    return content


def class_names(names: object, source: Path) -> list[str]:
    """The `names` of a data.yaml, a list or a mapping from index to name, as a list.

    Raises:
        DataError: there are none, or the indices do not count up from 0.
    """
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict) or not names:
        raise DataError(f"{source}: names: expected the class names as a list or as index: name, got {names!r}")
    if set(names) != set(range(len(names))):
        raise DataError(f"{source}: names: class indices must count up from 0, got {list(names)}")
    return [str(names[index]) for index in range(len(names))]


@dataclass(frozen=True)
class Dataset(Images):
    """A detection dataset: where its images and their boxes are."""

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
