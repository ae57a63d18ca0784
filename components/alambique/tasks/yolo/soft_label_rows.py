"""What the cache of soft labels holds of an image: the teacher's boxes, in the image's own coordinates."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from alambique.softlabels import schema
from alambique.softlabels.key import Recipe


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


class BoxRecipe(Recipe[SoftLabels]):
    """What decides the boxes of a cache.

    Attributes:
        experts: where `combine` is best_per_class, the number of the teacher for each class.
        image_sizes: side of each teacher's input, pixels; it need not be the student's.
        min_score: boxes below are not kept.
        max_boxes: boxes kept per image, at most.
    """

    experts: list[int] | None
    image_sizes: list[int]
    min_score: float
    max_boxes: int

    @property
    def width(self) -> int:
        """Class logits kept per box: there are no more than classes."""
        return min(self.top_k, len(self.classes))

    @property
    def row(self) -> type[SoftLabels]:
        """The class of its rows."""
        return SoftLabels

    def layout(self) -> pa.Schema:
        """Half precision places a box to a quarter of a pixel in an image of 1,024, and keeps COCO near 1 GB."""
        return schema.rows(
            boxes=pa.list_(pa.float16(), 4),
            logits=pa.list_(pa.float16(), self.width),
            classes=pa.list_(pa.int16(), self.width),
            scores=pa.float16(),
        )
