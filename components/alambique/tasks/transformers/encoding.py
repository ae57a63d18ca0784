"""Labelled texts as the tokens of a classifier; what is longer than it can take is cut off."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedTokenizerFast

from alambique.errors import DataError
from alambique.tasks.classifiers.soft_labels import UNLABELLED
from alambique.tasks.transformers.dataset import Text, Texts
from alambique.tasks.transformers.prunable import Batches

IMPORTANCE_TEXTS, IMPORTANCE_BATCH = 256, 32
"""Texts on which importance is measured, the first of train."""


class Encoded(NamedTuple):
    """A text in n tokens.

    Attributes:
        ids: its tokens, special ones included, (n,).
        label: class index, `UNLABELLED` where it has none.
        targets: the teachers', see `classifiers.soft_labels.view_targets`.
    """

    name: str
    ids: NDArray[np.int64]
    label: int
    targets: Mapping[str, Any] = {}


def encode(
    texts: Sequence[Text], tokenizer: PreTrainedTokenizerFast, classes: Sequence[str], max_tokens: int
) -> list[Encoded]:
    """Texts in tokens, at most `max_tokens` of each; DataError if a label is no class."""
    if not texts:
        return []
    known = {name: index for index, name in enumerate(classes)}
    if unknown := next((text for text in texts if text.label is not None and text.label not in known), None):
        raise DataError(f"{unknown.name}: the label {unknown.label!r} is none of the classes that data.yaml names")
    rows = tokenizer([text.text for text in texts], truncation=True, max_length=max_tokens)["input_ids"]
    return [
        Encoded(text.name, np.array(ids, np.int64), UNLABELLED if text.label is None else known[text.label])
        for text, ids in zip(texts, rows, strict=True)
    ]


def encode_labelled(dataset: Texts, split: str, tokenizer: PreTrainedTokenizerFast, max_tokens: int) -> list[Encoded]:
    """A split of which every text has a label; DataError if it is empty, or a text has none."""
    texts = encode(dataset.texts(split), tokenizer, dataset.classes, max_tokens)
    if not texts:
        raise DataError(f"{dataset.root} has no {split} texts; classifiers are trained or measured on them: add some")
    if unlabelled := next((text.name for text in texts if text.label == UNLABELLED), None):
        raise DataError(f"{dataset.root}: {unlabelled} has no label; give it one, or move it to the split `unlabelled`")
    return texts


def bucket_by_length(texts: Sequence[Encoded], size: int) -> Iterator[list[Encoded]]:
    """All texts, shortest first, in batches of about one length."""
    order = sorted(texts, key=lambda text: (len(text.ids), text.name))
    yield from (order[start : start + size] for start in range(0, len(order), size))


def collate(batch: Sequence[Encoded], pad: int) -> dict[str, Tensor]:
    """ids and mask, (batch, tokens), padded at the end with `pad`; label, (batch,); the targets, (batch, …)."""
    ids = [torch.from_numpy(text.ids) for text in batch]
    return {
        "ids": pad_sequence(ids, batch_first=True, padding_value=pad),
        "mask": pad_sequence([torch.ones_like(row) for row in ids], batch_first=True),
        "label": torch.tensor([text.label for text in batch]),
        **{name: torch.from_numpy(np.stack([text.targets[name] for text in batch])) for name in batch[0].targets},
    }


def importance_batches(dataset: Texts, tokenizer: PreTrainedTokenizerFast, max_tokens: int) -> Batches:
    """The first texts of train as `measure_importance` takes them."""
    texts = encode(dataset.texts("train")[:IMPORTANCE_TEXTS], tokenizer, dataset.classes, max_tokens)
    for part in bucket_by_length(texts, IMPORTANCE_BATCH):
        batch = collate(part, tokenizer.pad_token_id)
        yield {"input_ids": batch["ids"], "attention_mask": batch["mask"]}, batch["mask"].bool()
