"""Text classifiers in training: what teachers predict of all training texts, and what is minimised on them.

Teachers' top-k classes are kept; a text has one view. Students learn from labelled texts, or from all with soft labels.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast

from alambique.config.classify import Distill
from alambique.tasks.classifiers import soft_labels
from alambique.tasks.classifiers.soft_labels import (
    UNLABELLED,
    ClassLabels,
    ClassRecipe,
    digests,
    distillation_loss,
    view_targets,
)
from alambique.tasks.classifiers.validation import Val
from alambique.tasks.training_loop import Batch, TrainingObjective
from alambique.tasks.transformers import encoding, tokenizers
from alambique.tasks.transformers.checkpoint import Network
from alambique.tasks.transformers.dataset import Texts
from alambique.tasks.transformers.encoding import Encoded
from alambique.tasks.transformers.models import class_logits

BATCH = 64


def rows(
    teachers: Sequence[Network], dataset: Texts, recipe: ClassRecipe, shard: int, shards: int
) -> Iterator[ClassLabels]:
    """The rows of one shard, every n-th text by name, from the shard's number on."""
    texts = sorted(dataset.training_texts(), key=lambda text: text.name)[shard::shards]
    if not texts:
        return
    device = "cuda" if torch.cuda.is_available() else "cpu"
    predictions = []
    for network, max_tokens in zip(teachers, recipe.preprocessing["tokens"], strict=True):
        model: nn.Module = network.model
        encoded = encoding.encode(texts, network.tokenizer, dataset.classes, max_tokens)
        predictions.append(predict(model.to(device), encoded, network.tokenizer.pad_token_id))
    averaged = soft_labels.average(torch.stack(predictions))
    for text, log_probabilities in zip(texts, averaged, strict=True):
        yield soft_labels.keep(text.name, log_probabilities[None], [checksum(text.text)], recipe)


def checksum(text: str) -> int:
    """Of the one view of a text: the text itself, since each network has tokens of its own."""
    return zlib.crc32(text.encode())


@torch.inference_mode()
def predict(model: nn.Module, texts: Sequence[Encoded], pad: int) -> Tensor:
    """Log-probabilities of some texts, (texts, classes), on the CPU; batches are padded with the token `pad`."""
    device = next(model.parameters()).device
    predicted: dict[str, Tensor] = {}
    for part in encoding.bucket_by_length(texts, BATCH):
        batch = encoding.collate(part, pad)
        logits = class_logits(model, batch["ids"].to(device), batch["mask"].to(device))
        predicted |= zip((text.name for text in part), logits.float().log_softmax(1).cpu(), strict=True)
    return torch.stack([predicted[text.name] for text in texts])


def val(dataset: Texts, tokenizer: PreTrainedTokenizerFast, max_tokens: int) -> Val:
    """Val; a DataError if it is empty, or one of its texts has no label."""
    texts = encoding.encode_labelled(dataset, "val", tokenizer, max_tokens)
    labels = torch.tensor([text.label for text in texts])
    return Val(labels, lambda model: predict(model, texts, tokenizer.pad_token_id))


def by_labels(dataset: Texts, tokenizer: PreTrainedTokenizerFast, max_tokens: int) -> TrainingObjective:
    """The labelled texts alone.

    Raises:
        DataError: train is empty, or one of its texts has no label.
    """
    texts = encoding.encode_labelled(dataset, "train", tokenizer, max_tokens)

    def loss(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        return {"cross_entropy": cross_entropy(class_logits(model, batch["ids"], batch["mask"]), batch)}

    return TrainingObjective(
        lambda _: texts,
        partial(encoding.collate, pad=tokenizer.pad_token_id),
        loss,
        _identity("label", dataset, tokenizer, max_tokens),
    )


def by_soft_labels(
    dataset: Texts,
    tokenizer: PreTrainedTokenizerFast,
    max_tokens: int,
    cache: Mapping[str, ClassLabels],
    recipe: ClassRecipe,
    how: Distill,
) -> TrainingObjective:
    """All texts, with the teachers' distributions, and labels where there are any.

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
