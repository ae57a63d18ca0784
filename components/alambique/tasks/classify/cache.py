"""What the cache of soft labels holds of an image: the likeliest classes of each of its views."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from alambique.config.classify import Augment
from alambique.softlabels import schema
from alambique.softlabels.key import Recipe


class ViewLabels(NamedTuple):
    """What the teacher sees in v views of one image, and the k likeliest classes of each.

    Attributes:
        image: path inside data/images, as in train/cat/x.png.
        logits: log-probabilities of the likeliest classes, descending, (v, k).
        classes: which classes they are, (v, k).
        rest: the logarithm of all other classes' probability together, (v,).
        checksums: CRC-32 of each view's pixels, (v,).
    """

    image: str
    logits: NDArray[np.float16]
    classes: NDArray[np.int16]
    rest: NDArray[np.float16]
    checksums: NDArray[np.uint32]


class ViewRecipe(Recipe[ViewLabels]):
    """What decides the views of a cache, and what is kept of each.

    Attributes:
        image_size: side of a view, pixels: the teachers' input and the students'.
        views: of each image.
        augment: how they are drawn.
    """

    image_size: int
    views: int
    augment: Augment

    @property
    def width(self) -> int:
        """Classes kept of a view: there are no more than all."""
        return min(self.top_k, len(self.classes))

    @property
    def row(self) -> type[ViewLabels]:
        """The class of its rows."""
        return ViewLabels

    def layout(self) -> pa.Schema:
        """The columns of a shard; half precision tells a log-probability to a part in two thousand."""
        return schema.rows(
            logits=pa.list_(pa.float16(), self.width),
            classes=pa.list_(pa.int16(), self.width),
            rest=pa.float16(),
            checksums=pa.uint32(),
        )
