"""Run the teachers of causal language models over the training texts, and keep their top-k of each next token."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel

from alambique.tasks.transformers import generation, sequences
from alambique.tasks.transformers.checkpoint import Network
from alambique.tasks.transformers.dataset import Texts
from alambique.tasks.transformers.models import token_logits
from alambique.tasks.transformers.sequences import TokenSequence
from alambique.tasks.transformers.token_cache import TokenLabels, TokenRecipe, keep

AHEAD = 512
"""Sequences that are taken out of order, so that batches hold texts of about one length."""


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
        encoded = generation.sample(models[0], tokenizer.eos_token_id, encoded, recipe)
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
    """One teacher's logits of each next token, or the logarithm of several teachers' summed probabilities.

    Returns:
        (batch, tokens, vocabulary), on the CPU.
    """
    logits = [token_logits(model, ids.to(model.device), vocabulary).float() for model in models]
    if len(logits) == 1:
        return logits[0].cpu()
    return torch.stack([one.log_softmax(-1) for one in logits]).logsumexp(0).cpu()
