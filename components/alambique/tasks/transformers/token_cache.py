"""What the cache of soft labels holds of a text: its tokens, and what the teacher expected after each of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from alambique.softlabels import schema
from alambique.softlabels.key import Recipe
from alambique.tasks.text.losses import EMPTY
from alambique.tasks.text.sequences import TokenSequence


class TokenLabels(NamedTuple):
    """A sequence of n tokens, and of each place the k tokens that the teacher finds likeliest to follow.

    Attributes:
        sample: name of the sequence, as in train/000012.
        ids: its tokens, (n,).
        learned: 1 for those that a student has to foretell, else 0, (n,).
        tokens: the likeliest after each of them, the likeliest first, (n, k).
        logits: their log-probabilities at temperature 1, (n, k).
        rest: log-sum-exp of the other tokens' log-probabilities over the recipe's temperature, (n,).
    """

    sample: str
    ids: NDArray[np.int32]
    learned: NDArray[np.uint8]
    tokens: NDArray[np.integer]
    logits: NDArray[np.float16]
    rest: NDArray[np.float16]

    @property
    def sequence(self) -> TokenSequence:
        """The tokens that a student sees."""
        return TokenSequence(self.sample, self.ids.astype(np.int64), self.learned.astype(bool))


class TokenRecipe(Recipe[TokenLabels]):
    """What decides the tokens of a cache.

    Attributes:
        tokenizer: digest of what makes tokens of texts.
        vocabulary: tokens that it knows.
        max_tokens: of a sequence.
        temperature: at which the rest is summed up.
        prompt: tokens of each text after which the teacher goes on by itself; None: the texts are as they are.
    """

    tokenizer: str
    vocabulary: int
    max_tokens: int
    temperature: float
    prompt: int | None

    @property
    def width(self) -> int:
        """Tokens kept of each place: there are no more than the vocabulary's."""
        return min(self.top_k, self.vocabulary)

    @property
    def row(self) -> Callable[..., TokenLabels]:
        """The class of its rows."""
        return TokenLabels

    def layout(self) -> pa.Schema:
        """Two bytes number the tokens of most vocabularies."""
        number = pa.uint16() if self.vocabulary <= 1 << 16 else pa.int32()
        return schema.rows(
            ids=pa.int32(),
            learned=pa.uint8(),
            tokens=pa.list_(number, self.width),
            logits=pa.list_(pa.float16(), self.width),
            rest=pa.float16(),
        )


def keep(sequence: TokenSequence, logits: Tensor, recipe: TokenRecipe) -> TokenLabels:
    """A sequence's row of the cache.

    Args:
        logits: the teacher's after each token, of any base, (n, vocabulary).
    """
    chances = logits.float().log_softmax(-1)
    top = chances.topk(recipe.width, -1)
    left = (chances / recipe.temperature).scatter(-1, top.indices, -torch.inf)
    return TokenLabels(
        sample=sequence.name,
        ids=sequence.ids.astype(np.int32),
        learned=sequence.learned.astype(np.uint8),
        tokens=top.indices.numpy().astype(np.uint16 if recipe.vocabulary <= 1 << 16 else np.int32),
        logits=top.values.numpy().clip(EMPTY).astype(np.float16),
        rest=left.logsumexp(-1).clamp(min=EMPTY).numpy().astype(np.float16),
    )
