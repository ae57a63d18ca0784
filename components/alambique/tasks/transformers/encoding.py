"""Texts as the tokens that classifiers read, and their labels; what is longer than a network can take is cut off."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from alambique.errors import DataError
from alambique.tasks.text.data import Text, Texts

UNKNOWN = -1
"""The label of a text that nobody labelled."""


class Encoded(NamedTuple):
    """A text as it is read.

    Attributes:
        name: of the text.
        ids: its tokens, special ones included, (n,).
        label: class index, `UNKNOWN` where it has none.
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
    if strange := next((text for text in texts if text.label is not None and text.label not in known), None):
        raise DataError(f"{strange.name}: the label {strange.label!r} is none of the classes that data.yaml names")
    rows = tokenizer([text.text for text in texts], truncation=True, max_length=max_tokens)["input_ids"]
    return [
        Encoded(text.name, np.array(ids, np.int64), UNKNOWN if text.label is None else known[text.label])
        for text, ids in zip(texts, rows, strict=True)
    ]


def labelled(data: Texts, split: str, tokenizer: PreTrainedTokenizerFast, max_tokens: int) -> list[Encoded]:
    """A split of which every text has a label.

    Raises:
        DataError: it is empty, or a text has none.
    """
    own = encode(data.texts(split), tokenizer, data.classes, max_tokens)
    if not own:
        raise DataError(f"{data.root} has no {split} texts; classifiers learn from or are measured on them: add some")
    if unlabelled := next((each.name for each in own if each.label == UNKNOWN), None):
        raise DataError(f"{data.root}: {unlabelled} has no label; give it one, or move it to the split `unlabelled`")
    return own


def alike(own: Sequence[Encoded], size: int) -> Iterator[list[Encoded]]:
    """All texts, shortest first, in batches of about one length."""
    order = sorted(own, key=lambda each: (len(each.ids), each.name))
    yield from (order[start : start + size] for start in range(0, len(order), size))


def collate(batch: Sequence[Any], pad: int) -> dict[str, Tensor]:
    """ids and mask, (batch, tokens), filled up at the end; label, (batch,).

    Args:
        batch: of what has ids and label.
        pad: the token that fills up.
    """
    longest = max(len(each.ids) for each in batch)
    ids = torch.full((len(batch), longest), pad, dtype=torch.long)
    mask = torch.zeros(len(batch), longest, dtype=torch.long)
    for row, each in enumerate(batch):
        ids[row, : len(each.ids)] = torch.from_numpy(each.ids)
        mask[row, : len(each.ids)] = 1
    return {"ids": ids, "mask": mask, "label": torch.tensor([each.label for each in batch])}
