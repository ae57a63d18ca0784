"""What the reader of each format gives: images, and the objects on them in pixels from the upper left corner."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alambique.errors import DataError

Points = NDArray[np.float64]


@dataclass(frozen=True)
class Object:
    """An object on an image.

    Attributes:
        name: of its class.
        box: two opposite corners, (2, 2), or the four of a box that is turned, (4, 2).
        outlines: polygons, (n, 2) each; several where the object is seen in parts; none where it has only a box.
        keypoints: x, y, visibility (0 not labelled, 1 hidden, 2 visible), (k, 3); None where it has none.
    """

    name: str
    box: Points
    outlines: Sequence[Points] = ()
    keypoints: Points | None = None


@dataclass(frozen=True)
class AnnotatedImage:
    """An image as an annotation file names it.

    Attributes:
        file: the annotation file.
        names: the image's paths, the likeliest first, as far as the file says; folders of other machines included.
        size: width and height that the objects' pixels refer to; None where the file does not say.
        objects: empty on background; None where nobody has annotated the image.
        split: the split that the file names; None where it names none.
    """

    file: Path
    names: Sequence[str]
    size: tuple[float, float] | None
    objects: Sequence[Object] | None
    split: str | None = None


@dataclass
class Annotations:
    """The content of annotation files of one format.

    Attributes:
        form: the format's name, for messages.
        classes: in the order of their indices.
        keypoints: what `data.read_yolo.KEYPOINTS` says of them; empty where there are none.
        left_out: how many annotations are left out, by reason.
    """

    form: str
    images: list[AnnotatedImage] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)
    keypoints: dict[str, Any] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)

    def join(self, other: Annotations) -> None:
        """Add those of another file; a DataError if its objects have other keypoints."""
        if self.keypoints and other.keypoints and self.keypoints != other.keypoints:
            raise DataError(f"{other.images[0].file if other.images else other.form} names other keypoints than others")
        self.images += other.images
        self.classes += [name for name in other.classes if name not in self.classes]
        self.keypoints = self.keypoints or other.keypoints
        self.left_out += other.left_out


def keypoints_of(names: Sequence[str], count: int) -> dict[str, Any]:
    """`kpt_shape`, and `flip_idx` where the names tell which keypoints are each other's mirror image."""
    shape = {"kpt_shape": [count, 3]}
    if len(names) != count or len(set(names)) != count:
        return shape
    mirrored = [_mirrored(name) for name in names]
    if mirrored == list(names) or not set(mirrored) <= set(names):
        return shape
    return shape | {"flip_idx": [list(names).index(name) for name in mirrored]}


def _mirrored(name: str) -> str:
    for left, right in (("left", "right"), ("Left", "Right"), ("LEFT", "RIGHT")):
        if left in name:
            return name.replace(left, right)
        if right in name:
            return name.replace(right, left)
    return name


def rectangle(x1: float, y1: float, x2: float, y2: float) -> Points:
    """The two corners of an upright box."""
    return finite([[x1, y1], [x2, y2]])


def turned(corners: Points, degrees: float, about: Points) -> Points:
    """All four corners of an upright box, turned clockwise about a point."""
    (x1, y1), (x2, y2) = corners
    cosine, sine = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    around = np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]]) - about
    return finite(around @ np.array([[cosine, sine], [-sine, cosine]]) + about)


def polygon(numbers: Any) -> Points:
    """x and y by turns, or pairs of them, as (n, 2); a ValueError unless there are three points or more."""
    points = finite(numbers).reshape(-1, 2)
    if len(points) < 3:
        raise ValueError(f"a polygon of {len(points)} points")
    return points


def finite(numbers: Any) -> Points:
    """Numbers as an array; a ValueError unless all are finite."""
    array = np.asarray(numbers, np.float64)
    if not np.isfinite(array).all():
        raise ValueError(f"{numbers!r:.80} is not finite")
    return array


def unique(names: Iterable[object], file: Path) -> list[str]:
    """Class names as texts; a DataError if one is empty or there twice, since it identifies the class."""
    called = [str(name).strip() for name in names]
    for number, name in enumerate(called):
        if not name or name in called[:number]:
            raise DataError(f"{file}: {'two classes are' if name else 'a class is'} called {name!r}; rename one")
    return called


def require_fields(record: Mapping[str, Any], keys: Sequence[str]) -> list[Any]:
    """The values of these keys; a ValueError that names those which are missing."""
    if missing := [key for key in keys if record.get(key) is None]:
        raise ValueError(f"`{missing[0]}` is missing in {record!r:.80}")
    return [record[key] for key in keys]
