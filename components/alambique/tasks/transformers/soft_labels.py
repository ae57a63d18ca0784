"""Soft labels of causal language models: the teachers' top-k of each next token, over all training texts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from alambique.softlabels import schema, topk
from alambique.softlabels.schema import Recipe
from alambique.tasks.transformers import generation, sequences
from alambique.tasks.transformers.checkpoint import Network
from alambique.tasks.transformers.dataset import Texts
from alambique.tasks.transformers.models import token_logits
from alambique.tasks.transformers.sequences import TokenSequence

AHEAD = 512
"""Sequences that are taken out of order, so that batches hold texts of about one length."""


class TokenLabels(NamedTuple):
    """A sequence of n tokens, and of each place the k tokens that the teacher finds likeliest to follow.

    Attributes:
        sample: name of the sequence, as in train/000012.
        ids: its tokens, (n,).
        loss_mask: 1 for those that a student has to predict, else 0, (n,).
        tokens: the likeliest after each of them, descending, (n, k).
        log_probabilities: theirs at temperature 1, (n, k).
        log_remaining_mass: of all other tokens, at the recipe's temperature (see `topk.keep`), (n,).
    """

    sample: str
    ids: NDArray[np.int32]
    loss_mask: NDArray[np.uint8]
    tokens: NDArray[np.integer]
    log_probabilities: NDArray[np.float16]
    log_remaining_mass: NDArray[np.float16]

    @property
    def sequence(self) -> TokenSequence:
        """The tokens that a student is given."""
        return TokenSequence(self.sample, self.ids.astype(np.int64), self.loss_mask.astype(bool))


class TokenRecipe(Recipe[TokenLabels]):
    """What decides the tokens of a cache.

    Attributes:
        tokenizer: digest of what makes tokens of texts.
        vocabulary: tokens that it knows.
        max_tokens: of a sequence.
        temperature: at which the remaining mass is summed up.
        prompt: tokens of each text that the teacher continues by itself; None: the texts are as they are.
    """

    tokenizer: str
    vocabulary: int
    max_tokens: int
    temperature: float
    prompt: int | None

    @property
    def width(self) -> int:
        """Tokens kept of each place: `top_k`, or the vocabulary if it is smaller."""
        return min(self.top_k, self.vocabulary)

    @property
    def row(self) -> Callable[..., TokenLabels]:
        return TokenLabels

    def layout(self) -> pa.Schema:
        """The columns of a shard; two bytes number the tokens of most vocabularies."""
        number = pa.uint16() if self.vocabulary <= 1 << 16 else pa.int32()
        return schema.rows(
            ids=pa.int32(),
            loss_mask=pa.uint8(),
            tokens=pa.list_(number, self.width),
            log_probabilities=pa.list_(pa.float16(), self.width),
            log_remaining_mass=pa.float16(),
        )


def keep(sequence: TokenSequence, logits: Tensor, recipe: TokenRecipe) -> TokenLabels:
    """A sequence's row of the cache, from the teacher's logits after each of its n tokens, (n, vocabulary)."""
    kept = topk.keep(logits.float().log_softmax(-1), recipe.width, recipe.temperature)
    return TokenLabels(
        sample=sequence.name,
        ids=sequence.ids.astype(np.int32),
        loss_mask=sequence.loss_mask.astype(np.uint8),
        tokens=kept.indices.numpy().astype(np.uint16 if recipe.vocabulary <= 1 << 16 else np.int32),
        log_probabilities=kept.values.numpy().astype(np.float16),
        log_remaining_mass=kept.log_remaining_mass.numpy().astype(np.float16),
    )


def rows(
    teachers: Sequence[Network], dataset: Texts, recipe: TokenRecipe, shard: int, shards: int
) -> Iterator[TokenLabels]:
    """The rows of one shard, every n-th text from the shard's number on, sorted by name.

    The teachers have one tokenizer; the first writes the texts, if they are to be written.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    models = [teacher.model.to(device) for teacher in teachers]  # type: ignore[arg-type]
    tokenizer = teachers[0].tokenizer
    encoded = sequences.encode(dataset.training_texts()[shard::shards], tokenizer, recipe.max_tokens)
    if recipe.prompt is not None:
        encoded = generation.sample(
            models[0], encoded, recipe.prompt, tokenizer.eos_token_id, recipe.vocabulary, recipe.max_tokens
        )
    yield from predict(models, sorted(encoded, key=lambda text: text.name), recipe)


def predict(
    models: Sequence[PreTrainedModel], texts: Sequence[TokenSequence], recipe: TokenRecipe
) -> Iterator[TokenLabels]:
    """The teachers' soft labels of some sequences, in their order; the models are in evaluation mode."""
    for start in range(0, len(texts), AHEAD):
        part = texts[start : start + AHEAD]
        labels: dict[str, TokenLabels] = {}
        for batch in sequences.bucket_by_length(part, recipe.vocabulary):
            logits = average_logits(models, sequences.collate(batch)["ids"], recipe.vocabulary)
            labels |= {
                text.name: keep(text, rows[: len(text.ids)], recipe) for text, rows in zip(batch, logits, strict=True)
            }
        yield from (labels[text.name] for text in part)


@torch.inference_mode()
def average_logits(models: Sequence[PreTrainedModel], ids: Tensor, vocabulary: int) -> Tensor:
    """A teacher's logits, or the log of several's summed probabilities, (batch, tokens, vocabulary), on the CPU."""
    logits = [token_logits(model, ids.to(model.device), vocabulary).float() for model in models]
    if len(logits) == 1:
        return logits[0].cpu()
    return torch.stack([one.log_softmax(-1) for one in logits]).logsumexp(0).cpu()
