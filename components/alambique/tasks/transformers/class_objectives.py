"""What a classifier of texts learns from: labelled texts, or all texts with what teachers make of them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import Dataset
from transformers import PreTrainedTokenizerFast

from alambique.config.text_classify import Distill
from alambique.errors import IntegrityError
from alambique.tasks.classification.loss import tempered_kl
from alambique.tasks.text import tokenizer as tokenizers
from alambique.tasks.text.data import Texts
from alambique.tasks.text_classify import encoding, network
from alambique.tasks.text_classify.cache import TextLabels, TextRecipe
from alambique.tasks.text_classify.encoding import UNKNOWN, Encoded
from alambique.tasks.text_classify.soft_labels import SPLITS
from alambique.tasks.training_loop import Batch, Lesson


class Taught(NamedTuple):
    """A text and what a teacher makes of it, as `TextLabels` has it, (k,), (k,) and a number."""

    ids: NDArray[np.int64]
    label: int
    logits: NDArray[np.float32]
    classes: NDArray[np.int64]
    rest: float


class Samples(Dataset[Any]):
    """An epoch's samples: some of these, in this order."""

    def __init__(self, samples: Sequence[Any], order: Sequence[int]) -> None:
        self.samples, self.order = samples, order

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, position: int) -> Any:
        return self.samples[self.order[position]]


def by_label(data: Texts, tokenizer: PreTrainedTokenizerFast, max_tokens: int, length: int | None = None) -> Lesson:
    """The labelled texts alone, over and over.

    Args:
        max_tokens: of a text.
        length: samples of an epoch; None: each text once.
    Raises:
        DataError: train is empty, or one of its texts has no label.
    """
    own = encoding.labelled(data, "train", tokenizer, max_tokens)
    length = length or len(own)

    def at(epoch: int) -> Samples:
        return Samples(own, [(epoch * length + place) % len(own) for place in range(length)])

    def loss(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        return {"cross_entropy": cross_entropy(network.logits(model, batch["ids"], batch["mask"]), batch["label"])}

    return Lesson(
        at,
        partial(encoding.collate, pad=tokenizer.pad_token_id),
        loss,
        _identity("label", data, tokenizer, max_tokens, length),
    )


def by_soft_labels(
    data: Texts,
    tokenizer: PreTrainedTokenizerFast,
    max_tokens: int,
    cache: Mapping[str, TextLabels],
    recipe: TextRecipe,
    how: Distill,
) -> Lesson:
    """All texts, each once an epoch, with what the teachers make of it, and its label where it has one.

    Raises:
        IntegrityError: the cache lacks a text.
    """
    own = [
        _taught(each, cache)
        for split in SPLITS
        for each in encoding.encode(data.texts(split), tokenizer, data.classes, max_tokens)
    ]

    def loss(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        found = network.logits(model, batch["ids"], batch["mask"])
        divergence = tempered_kl(found, batch["logits"], batch["classes"], batch["rest"], how.temperature)
        parts = {"divergence": how.weight * divergence}
        if how.weight < 1:
            parts["cross_entropy"] = (1 - how.weight) * cross_entropy(found, batch["label"])
        return parts

    return Lesson(
        lambda _: Samples(own, range(len(own))),
        partial(_collate, pad=tokenizer.pad_token_id),
        loss,
        _identity("soft", data, tokenizer, max_tokens, recipe.digest(), how),
        ("divergence",),
    )


def cross_entropy(logits: Tensor, label: Tensor) -> Tensor:
    """Mean over what is labelled, 0 where nothing is."""
    total = nn.functional.cross_entropy(logits, label, ignore_index=UNKNOWN, reduction="sum")
    return total / (label != UNKNOWN).sum().clamp(min=1)


def _taught(each: Encoded, cache: Mapping[str, TextLabels]) -> Taught:
    if each.name not in cache:
        raise IntegrityError(
            f"no soft labels for {each.name}; run the soft_labels stage again (`dvc repro soft_labels`)"
        )
    row = cache[each.name]
    return Taught(
        each.ids, each.label, row.logits[0].astype(np.float32), row.classes[0].astype(np.int64), float(row.rest[0])
    )


def _collate(batch: list[Taught], pad: int) -> Batch:
    return encoding.collate(batch, pad) | {
        "logits": torch.from_numpy(np.stack([each.logits for each in batch])),
        "classes": torch.from_numpy(np.stack([each.classes for each in batch])),
        "rest": torch.tensor([each.rest for each in batch]),
    }


def _identity(kind: str, data: Texts, tokenizer: PreTrainedTokenizerFast, *known: object) -> str:
    splits = [data.digest(split) for split in SPLITS if data.has(split)]
    return hashlib.sha256(repr((kind, splits, tokenizers.digest(tokenizer), known)).encode()).hexdigest()
