"""What a shard of the cache holds: one row per image, sorted by path, in an Arrow IPC file.

A row is a named tuple whose fields are the columns; what varies in length from image to image is an Arrow list, what
does not is a fixed-size list, nested as the array's shape is.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

VERSION = 2
SHARD = "soft_labels.arrow"
MANIFEST = "manifest.json"

BRANCHES = ("one2many", "one2one")
"""The heads of a YOLO26, in the order in which a view's outputs are kept."""


class SoftLabels(NamedTuple):
    """Boxes: what the teacher sees in one image, n boxes and the k likeliest classes of each.

    Attributes:
        image: path inside data/images, as in train/x.png.
        boxes: x1, y1, x2, y2 as shares of the image's width and height, (n, 4).
        logits: of the likeliest classes, descending, (n, k).
        classes: which classes they are, (n, k).
        scores: the sigmoid of the first logit, (n,).
    """

    image: str
    boxes: NDArray[np.float16]
    logits: NDArray[np.float16]
    classes: NDArray[np.int16]
    scores: NDArray[np.float16]


class SoftViews(NamedTuple):
    """Views: what the teacher answers, in each of an image's v augmented views, at the m anchors it is surest of.

    Attributes:
        image: path inside data/images, as in train/x.png.
        checksums: CRC-32 of each view's pixels, (v,).
        anchors: indices into the head's outputs, surest first, for both `BRANCHES`, (v, 2, m).
        logits: of the likeliest classes, descending, (v, 2, m, k).
        classes: which classes they are, (v, 2, m, k).
        boxes: distances from the anchor's centre to the left, top, right and bottom side, in the anchor's strides, as
            the head gives them, (v, 2, m, 4).
    """

    image: str
    checksums: NDArray[np.uint32]
    anchors: NDArray[np.unsignedinteger]
    logits: NDArray[np.float16]
    classes: NDArray[np.int16]
    boxes: NDArray[np.float16]

    @property
    def scores(self) -> NDArray[np.float32]:
        """The sigmoid of the first logit, (v, 2, m)."""
        return np.exp(-np.logaddexp(0, -self.logits[..., 0].astype(np.float32)), dtype=np.float32)


Row = SoftLabels | SoftViews


def boxes(width: int) -> pa.Schema:
    """The Arrow schema of a shard of `SoftLabels`.

    Half precision places a box to a quarter of a pixel in an image of 1,024, and keeps COCO near 1 GB.

    Args:
        width: k, class logits kept per box.
    """
    return _schema(
        {
            "image": pa.string(),
            "boxes": pa.list_(pa.list_(pa.float16(), 4)),
            "logits": pa.list_(pa.list_(pa.float16(), width)),
            "classes": pa.list_(pa.list_(pa.int16(), width)),
            "scores": pa.list_(pa.float16()),
        }
    )


def views(count: int, kept: int, width: int, anchors: int) -> pa.Schema:
    """The Arrow schema of a shard of `SoftViews`.

    A view takes 4 + 2 · m · (10 + 4k) bytes: with 100 anchors and 10 classes 10,004, where dense maps in half
    precision, of 80 classes at 640 pixels, take 2,822,400.

    Half precision moves a side by at most 1/2,048 of its distance from the anchor's centre. As shares of the input,
    the sides of every box, however small, would move by up to 1/4,096 of that input.

    Args:
        count: v, views of an image.
        kept: m, anchors kept per view and branch.
        width: k, class logits kept per anchor.
        anchors: that the head has.
    """
    shape = (count, len(BRANCHES), kept)
    return _schema(
        {
            "image": pa.string(),
            "checksums": _fixed(pa.uint32(), count),
            "anchors": _fixed(pa.from_numpy_dtype(index_type(anchors)), *shape),
            "logits": _fixed(pa.float16(), *shape, width),
            "classes": _fixed(pa.int16(), *shape, width),
            "boxes": _fixed(pa.float16(), *shape, 4),
        }
    )


def index_type(anchors: int) -> np.dtype[np.unsignedinteger]:
    """The smallest that tells so many anchors apart."""
    return np.min_scalar_type(anchors - 1)


def _fixed(kind: pa.DataType, *shape: int) -> pa.DataType:
    """Fixed-size lists, one inside another, as an array of `shape` has its axes."""
    for size in reversed(shape):
        kind = pa.list_(kind, size)
    return kind


def _schema(columns: dict[str, pa.DataType]) -> pa.Schema:
    return pa.schema([pa.field(name, kind, nullable=False) for name, kind in columns.items()])
