"""Training objectives of text classifiers: labelled texts; or all texts with the teachers' soft labels."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import partial

from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast

from alambique.config.classify import Distill
from alambique.tasks.classifiers.soft_labels import (
    UNLABELLED,
    ClassLabels,
    ClassRecipe,
    digests,
    distillation_loss,
    view_targets,
)
from alambique.tasks.training_loop import Batch, TrainingObjective
from alambique.tasks.transformers import encoding, tokenizers
from alambique.tasks.transformers.class_soft_labels import checksum
from alambique.tasks.transformers.dataset import Texts
from alambique.tasks.transformers.encoding import Encoded
from alambique.tasks.transformers.models import class_logits


def by_labels(
    dataset: Texts, tokenizer: PreTrainedTokenizerFast, max_tokens: int, samples: int | None = None
) -> TrainingObjective:
    """The labelled texts alone, over and over; without a number of `samples`, each once an epoch.

    Raises:
        DataError: train is empty, or one of its texts has no label.
    """
    texts = encoding.encode_labelled(dataset, "train", tokenizer, max_tokens)
    count = samples or len(texts)

    def epoch_dataset(epoch: int) -> list[Encoded]:
        return [texts[(epoch * count + place) % len(texts)] for place in range(count)]

    def loss(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        return {"cross_entropy": cross_entropy(class_logits(model, batch["ids"], batch["mask"]), batch)}

    return TrainingObjective(
        epoch_dataset,
        partial(encoding.collate, pad=tokenizer.pad_token_id),
        loss,
        _identity("label", dataset, tokenizer, max_tokens, count),
    )


def by_soft_labels(
    dataset: Texts,
    tokenizer: PreTrainedTokenizerFast,
    max_tokens: int,
    cache: Mapping[str, ClassLabels],
    recipe: ClassRecipe,
    how: Distill,
) -> TrainingObjective:
    """All texts, each once an epoch, with the teachers' distributions, and labels where there are any.

    Raises:
        IntegrityError: the cache lacks a text, or was made from another one.
    """
    texts = dataset.training_texts()
    samples = [
        encoded._replace(targets=view_targets(cache, text.name, 0, checksum(text.text)))
        for text, encoded in zip(texts, encoding.encode(texts, tokenizer, dataset.classes, max_tokens), strict=True)
    ]

    def loss(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        return distillation_loss(class_logits(model, batch["ids"], batch["mask"]), batch, how, cross_entropy)

    return TrainingObjective(
        lambda _: samples,
        partial(encoding.collate, pad=tokenizer.pad_token_id),
        loss,
        _identity("soft", dataset, tokenizer, max_tokens, recipe.digest(), how),
        ("divergence",),
    )


def cross_entropy(logits: Tensor, batch: Batch) -> Tensor:
    """Of the labels, mean over the labelled texts, 0 where there are none; scalar, nats."""
    total = nn.functional.cross_entropy(logits, batch["label"], ignore_index=UNLABELLED, reduction="sum")
    return total / (batch["label"] != UNLABELLED).sum().clamp(min=1)


def _identity(kind: str, dataset: Texts, tokenizer: PreTrainedTokenizerFast, *settings: object) -> str:
    splits = list(digests(dataset).values())
    return hashlib.sha256(repr((kind, splits, tokenizers.digest(tokenizer), settings)).encode()).hexdigest()
