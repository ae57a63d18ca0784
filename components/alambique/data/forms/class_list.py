"""YOLO's labels with a list of class names instead of a data.yaml, as LabelImg and Label Studio export them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from alambique.data.dataset import IMAGE_SUFFIXES, SHORTEST_OUTLINE, files_below, label_lines
from alambique.data.forms.annotations import AnnotatedImage, Annotations, Object, finite, polygon, rectangle, unique
from alambique.data.image_values import upright_size
from alambique.data.read_yolo import existing_label
from alambique.errors import DataError

NAME = "classes.txt"


def read(file: Path, root: Path) -> Annotations:
    """The images below a folder, with the labels beside them or in labels/; those without a label file are background.

    Args:
        file: a class name a line, in the order of their indices.
    Raises:
        DataError: a row is neither a box nor an outline, or of a class that is not named.
    """
    lines = file.read_text("utf-8-sig", errors="replace").splitlines()
    found = Annotations("YOLO with classes.txt", classes=unique((line for line in lines if line.strip()), file))
    for path in files_below(root):
        if path.suffix.lower() not in IMAGE_SUFFIXES:
            continue
        beside = path.with_suffix(".txt")
        rows = label_lines(beside if beside.is_file() else existing_label(path))
        objects = []
        if rows:
            if (size := upright_size(path)) is None:
                raise DataError(f"{path} cannot be read as an image; restore it, or take it out")
            objects = [_object(place, line, np.array(size), found.classes) for place, line in rows]
        found.images.append(AnnotatedImage(file, [path.relative_to(root).as_posix()], None, objects))
    return found


def _object(place: str, line: str, size: np.ndarray, classes: list[str]) -> Object:
    try:
        index, *numbers = finite(line.split()).tolist()
        name = classes[int(index)] if index.is_integer() and index >= 0 else None
        if name is not None and len(numbers) == 4:
            x, y, width, height = numbers
            corners = rectangle(x - width / 2, y - height / 2, x + width / 2, y + height / 2) * size
            return Object(name, corners)
        if name is not None and len(numbers) >= SHORTEST_OUTLINE - 1 and len(numbers) % 2 == 0:
            outline = polygon(numbers) * size
            return Object(name, np.array([outline.min(0), outline.max(0)]), [outline])
    except (ValueError, IndexError):
        pass
    raise DataError(
        f"{place}: expected `class x y width height` or an outline, of one of the {len(classes)} classes of {NAME}, "
        f"got {line.strip()[:80]!r}"
    )
