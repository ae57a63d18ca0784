"""Datasets in YOLO's layout, read-only: images/<split>, and a data.yaml with splits and classes; labels/<split>."""

from __future__ import annotations

import hashlib
import os
import reprlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from alambique.config import parse_yaml
from alambique.data.source_files import is_hidden, require_utf8
from alambique.errors import DataError
from alambique.files import sha256

LABELLED = ("train", "val", "test")
SPLITS = (*LABELLED, "unlabelled")
DESCRIPTION = "data.yaml"
PRODUCTION_FOLDER = "field"
"""Folder inside the unlabelled split with the production images that joined after drift."""
IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
OTHER_IMAGES = frozenset(
    {".avif", ".dds", ".dng", ".gif", ".heic", ".heif", ".jp2", ".jxl", ".mpo", ".pbm", ".pfm", ".pgm", ".ppm", ".psd"}
    | {".apng", ".avifs", ".ico", ".j2k", ".jfif", ".jpe", ".pnm", ".qoi", ".raw", ".svg", ".tga"}
)
"""Images that are not taken: not every program that the dataset goes through reads them, and reads them alike."""
SHORTEST_OUTLINE = 7
"""Numbers in a row: the class, and three points."""


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
        return image_files(self.root / self.folders[split])

    def production_images(self) -> list[Path]:
        """The unlabelled production images that joined after drift; see `images`."""
        if not self.has("unlabelled"):
            return []
        folder = self.root / self.folders["unlabelled"] / PRODUCTION_FOLDER
        return [path for path in self.images("unlabelled") if path.is_relative_to(folder)]

    def inside(self, image: Path) -> str:
        """An image's path inside `root`/images, the key of caches and results."""
        return image.relative_to(self.root / "images").as_posix()


def image_files(folder: Path) -> list[Path]:
    """The images in a folder and the folders in it, links followed, sorted by path.

    Hidden files and folders are passed over, as Ultralytics does: Jupyter's copies, macOS's `._x.jpg`.
    """
    return [path for path in files_below(folder) if path.suffix.lower() in IMAGE_SUFFIXES]


def files_below(folder: Path) -> list[Path]:
    """All files in a folder that are not hidden, sorted by path; a folder that links lead to twice counts once.

    Raises:
        DataError: a name is not UTF-8.
    """
    found: list[Path] = []
    seen: set[str] = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        seen.add(os.path.realpath(place))
        folders[:] = [
            name
            for name in sorted(folders)
            if not is_hidden(name) and os.path.realpath(os.path.join(place, name)) not in seen  # noqa: PTH118
        ]
        files = [name for name in names if not is_hidden(name)]
        for name in (*folders, *files):
            require_utf8(place, name)
        found += [Path(place) / name for name in files]
    return sorted(found)


def read_description(source: Path, needs: str) -> dict[str, Any]:
    """The mapping in a data.yaml.

    Args:
        needs: what it should hold, for the message.
    Raises:
        DataError: it is missing, not YAML, or no mapping.
    """
    try:
        content = parse_yaml(source)
    except OSError as error:
        raise DataError(f"cannot read {source}: {error.strerror}; is the dataset pulled (`dvc pull`)?") from None
    except ValueError as error:
        raise DataError(str(error)) from None
    if not isinstance(content, dict):
        raise DataError(f"{source} holds no mapping; {needs}")
    return content


def class_names(names: object, source: Path) -> list[str]:
    """The `names` of a data.yaml, a list or a mapping from index to name, as a list.

    Raises:
        DataError: there are none, the indices do not count up from 0, or a name is missing, no text, or there twice:
            figures of each class are told apart by it.
    """
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict) or not names:
        raise DataError(f"{source}: names: expected the class names as a list or as index: name, got {_short(names)}")
    by_index = {_index(key): name for key, name in names.items()}
    if by_index.keys() != set(range(len(names))):
        raise DataError(f"{source}: names: class indices must count up from 0, got {_short(list(names))}")
    ordered: list[str] = []
    for index in range(len(names)):
        name = by_index[index]
        if isinstance(name, bool) or not isinstance(name, str | int | float) or not str(name).strip():
            raise DataError(f"{source}: names: class {index} is called {_short(name)}; give it a name, in quotes")
        if str(name) in ordered:
            raise DataError(
                f"{source}: names: classes {ordered.index(str(name))} and {index} are both called {_short(name)}; "
                "give each a name of its own, or make one class of them"
            )
        ordered.append(str(name))
    return ordered


def _index(key: object) -> object:
    """A class index; JSON's and some exporters' are texts."""
    return int(key) if isinstance(key, str) and key.isdecimal() else key


def _short(value: object) -> str:
    """A value in a message; of 400 bytes of YAML with aliases, `repr` would make gigabytes."""
    shown = reprlib.Repr()
    shown.maxlevel, shown.maxlist, shown.maxdict = 2, 3, 3
    return shown.repr(value)


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


LARGEST_LABEL = 16 * 2**20
"""Bytes; a hundred thousand outlines have fewer. Parsed, a file takes about thirty times as much memory."""


def read_boxes(label: Path) -> NDArray[np.float64]:
    """Parse one label file; see `Dataset.boxes`. A row that is there again is dropped, as by Ultralytics.

    A file whose rows are all outlines, `class x1 y1 x2 y2 x3 y3 …`, gives the boxes around them, as Ultralytics does.

    Raises:
        DataError: a row is not a whole class number and four finite numbers; the message names file and line.
    """
    lines = label_lines(label)
    rows = [_numbers(line) for _, line in lines]
    if rows and all(len(row) >= SHORTEST_OUTLINE and len(row) % 2 for row in rows):
        rows = [[row[0], *around(np.reshape(row[1:], (-1, 2))).tolist()] for row in rows]
    for (place, line), row in zip(lines, rows, strict=True):
        if len(row) != 5 or not np.isfinite(row).all() or not row[0].is_integer():
            raise DataError(f"{place}: expected `class x y width height`, got {line.strip()[:80]!r}")
    return np.array(list(dict.fromkeys(map(tuple, rows))), dtype=np.float64).reshape(-1, 5)


def repeated_rows(label: Path) -> int:
    """How many rows of a label file are there again; 0 where there is no file."""
    if not label.exists():
        return 0
    rows = [line for line in label.read_text("utf-8-sig", errors="replace").splitlines() if line.strip()]
    return len(rows) - len(label_lines(label))


def label_lines(label: Path) -> list[tuple[str, str]]:
    """The rows of a label file, each once, with its place for messages; none where there is no file."""
    if not label.exists():
        return []
    if (size := label.stat().st_size) > LARGEST_LABEL:
        raise DataError(f"{label} has {size:,} bytes, more than {LARGEST_LABEL:,}: it holds no labels of one image")
    # Undecodable bytes are replaced, so that an error can name the line; Windows puts a mark at the beginning.
    lines = label.read_text("utf-8-sig", errors="replace").splitlines()
    rows: dict[tuple[str, ...], tuple[str, str]] = {}
    for number, line in enumerate(lines, start=1):
        if line.strip():
            rows.setdefault(tuple(line.split()), (f"{label}:{number}", line))
    return list(rows.values())


def around(points: NDArray[Any]) -> NDArray[Any]:
    """The box around points, (n, 2): centre x, centre y, width, height."""
    low, high = points.min(0), points.max(0)
    return np.concatenate(((low + high) / 2, high - low))


def _numbers(line: str) -> list[float]:
    try:
        return [float(word) for word in line.split()]
    except ValueError:
        return []
