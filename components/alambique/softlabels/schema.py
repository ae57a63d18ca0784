"""What a shard of the cache holds: one row per image, sorted by path, in an Arrow IPC file.

A row is a named tuple whose fields are the columns. All but the path are lists with an entry for each box; what has
several numbers of a box holds them in fixed-size lists.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

VERSION = 3
SHARD = "soft_labels.arrow"
MANIFEST = "manifest.json"


class SoftLabels(NamedTuple):
    """What the teacher sees in one image: n boxes, and the k likeliest classes of each.

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


def rows(width: int) -> pa.Schema:
    """The Arrow schema of a shard of `SoftLabels`.

    Half precision places a box to a quarter of a pixel in an image of 1,024, and keeps COCO near 1 GB.

    Args:
        width: k, class logits kept per box.
    """
    columns = {
        "image": pa.string(),
        "boxes": pa.list_(pa.list_(pa.float16(), 4)),
        "logits": pa.list_(pa.list_(pa.float16(), width)),
        "classes": pa.list_(pa.list_(pa.int16(), width)),
        "scores": pa.list_(pa.float16()),
    }
    return pa.schema([pa.field(name, kind, nullable=False) for name, kind in columns.items()])
