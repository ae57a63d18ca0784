"""What the cache of soft labels holds of a text: the likeliest classes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from torch import Tensor

from alambique.softlabels import schema
from alambique.softlabels.key import Recipe

LEAST = -60.0
"""What a logarithm of next to no probability, or of no rest, is kept as: a finite number."""


class TextLabels(NamedTuple):
    """What the teacher makes of one text: its k likeliest classes.

    Attributes:
        sample: name of the text, as in train/000012.
        logits: log-probabilities of the likeliest classes at temperature 1, descending, (1, k).
        classes: which classes they are, (1, k).
        rest: the logarithm of all other classes' probability together, (1,).
    """

    sample: str
    logits: NDArray[np.float16]
    classes: NDArray[np.int16]
    rest: NDArray[np.float16]


class TextRecipe(Recipe[TextLabels]):
    """What decides the soft labels of texts: each teacher's card names the tokens that it reads."""

    @property
    def width(self) -> int:
        """Classes kept of a text: there are no more than all."""
        return min(self.top_k, len(self.classes))

    @property
    def row(self) -> type[TextLabels]:
        """The class of its rows."""
        return TextLabels

    def layout(self) -> pa.Schema:
        """The columns of a shard."""
        return schema.rows(
            logits=pa.list_(pa.float16(), self.width), classes=pa.list_(pa.int16(), self.width), rest=pa.float16()
        )


def keep(name: str, chances: Tensor, recipe: TextRecipe) -> TextLabels:
    """A text's row of the cache.

    Args:
        chances: log-probabilities, (classes,).
    """
    top = chances.topk(recipe.width)
    others = chances.scatter(0, top.indices, -np.inf).logsumexp(0).clamp(min=LEAST)
    return TextLabels(
        sample=name,
        logits=top.values.clamp(min=LEAST).numpy().astype(np.float16)[None],
        classes=top.indices.numpy().astype(np.int16)[None],
        rest=others.numpy().astype(np.float16)[None],
    )
