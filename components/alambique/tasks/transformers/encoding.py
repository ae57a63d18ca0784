"""Labelled texts as the tokens of a classifier; what is longer than it can take is cut off."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from alambique.errors import DataError
from alambique.tasks.classifiers.soft_labels import UNLABELLED
from alambique.tasks.transformers.dataset import Text, Texts

IMPORTANCE_TEXTS, IMPORTANCE_BATCH = 256, 32
"""Texts on which importance is measured, the first of train."""


class Encoded(NamedTuple):
    """A text in n tokens.

    Attributes:
        name: of the text.
        ids: its tokens, special ones included, (n,).
        label: class index, `UNLABELLED` where it has none.
    """

    name: str
    ids: NDArray[np.int64]
    label: int


def encode(
    texts: Sequence[Text], tokenizer: PreTrainedTokenizerFast, classes: Sequence[str], max_tokens: int
) -> list[Encoded]:
    """Texts in tokens, at most `max_tokens` of each.

    Raises:
        DataError: a label is no class.
    """
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
    """A split of which every text has a label.

    Raises:
        DataError: it is empty, or a text has none.
    """
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


def collate(batch: Sequence[Any], pad: int) -> dict[str, Tensor]:
    """ids and mask, (batch, tokens), padded at the end; label, (batch,).

    Args:
        batch: of what has ids and label.
        pad: the token to pad with.
    """
    longest = max(len(text.ids) for text in batch)
    ids = torch.full((len(batch), longest), pad, dtype=torch.long)
    mask = torch.zeros(len(batch), longest, dtype=torch.long)
    for row, text in enumerate(batch):
        ids[row, : len(text.ids)] = torch.from_numpy(text.ids)
        mask[row, : len(text.ids)] = 1
    return {"ids": ids, "mask": mask, "label": torch.tensor([text.label for text in batch])}


def importance_batches(
    dataset: Texts, tokenizer: PreTrainedTokenizerFast, max_tokens: int
) -> Iterator[tuple[dict[str, Any], Tensor]]:
    """The first texts of train as `importance.measure` takes them."""
    texts = encode(dataset.texts("train")[:IMPORTANCE_TEXTS], tokenizer, dataset.classes, max_tokens)
    for part in bucket_by_length(texts, IMPORTANCE_BATCH):
        batch = collate(part, tokenizer.pad_token_id)
        yield {"input_ids": batch["ids"], "attention_mask": batch["mask"]}, batch["mask"].bool()
