"""Texts as the tokens that models see, cut to windows; and which of them a model has to learn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from jinja2 import TemplateError
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset
from transformers import PreTrainedTokenizerFast

from alambique.errors import ConfigurationError, DataError
from alambique.tasks.text.data import Message, Text

TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>\n' + message['content'] + eos_token + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)
"""How a conversation is written where the tokenizer has no template of its own."""

CHUNK = 1000
"""Texts that are encoded at a time."""
LOGITS = 1 << 25
"""Of a batch outside of training: 128 MiB."""


class TokenSequence(NamedTuple):
    """A text's tokens, or a window of them.

    Attributes:
        name: of the text; a further window's has its number behind it, as in train/000012#0001.
        ids: the tokens, (n,).
        learned: which of them a model has to foretell from those before, (n,).
    """

    name: str
    ids: NDArray[np.int64]
    learned: NDArray[np.bool_]


class Samples(Dataset[Any]):
    """An epoch's samples, map-style."""

    def __init__(self, samples: Sequence[Any]) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Any:
        return self.samples[index]


def require_template(tokenizer: PreTrainedTokenizerFast, texts: Sequence[Text]) -> None:
    """Give the tokenizer a template if there are conversations and it has none."""
    if tokenizer.chat_template is None and any(text.messages for text in texts):
        tokenizer.chat_template = TEMPLATE


def encode(texts: Sequence[Text], tokenizer: PreTrainedTokenizerFast, max_tokens: int) -> list[TokenSequence]:
    """The texts' tokens, in windows of at most `max_tokens`; each but the first begins with the last of the one before.

    A text is learned as a whole, and of a conversation what the assistant says.

    Raises:
        DataError: the tokenizer's template cannot write a conversation.
    """
    found: list[TokenSequence] = []
    for start in range(0, len(texts), CHUNK):
        part = texts[start : start + CHUNK]
        plain = [text.text for text in part if not text.messages]
        encoded = iter(tokenizer(plain)["input_ids"] if plain else [])
        for text in part:
            if text.messages:
                whole = conversation(text, tokenizer)
            else:
                ids = bounded(next(encoded), tokenizer)
                whole = TokenSequence(text.name, ids, np.ones(len(ids), bool))
            found += windows(whole, max_tokens)
    return found


def bounded(ids: list[int], tokenizer: PreTrainedTokenizerFast) -> NDArray[np.int64]:
    """A text's tokens between the tokens that say where texts begin and end, where the tokenizer has such."""
    begin, end = tokenizer.bos_token_id, tokenizer.eos_token_id
    if begin is not None and ids[:1] != [begin]:
        ids = [begin, *ids]
    if end is not None and ids[-1:] != [end]:
        ids = [*ids, end]
    return np.array(ids, np.int64)


def windows(whole: TokenSequence, max_tokens: int) -> Iterator[TokenSequence]:
    """A sequence in windows, those left out in which nothing is learned."""
    for number, start in enumerate(range(0, max(len(whole.ids) - 1, 1), max_tokens - 1)):
        stop = start + max_tokens
        ids, learned = whole.ids[start:stop], whole.learned[start:stop].copy()
        learned[0] = False  # nothing stands before it
        if learned.any():
            yield TokenSequence(f"{whole.name}#{number:04d}" if number else whole.name, ids, learned)


def conversation(text: Text, tokenizer: PreTrainedTokenizerFast) -> TokenSequence:
    """A conversation as the tokenizer's template writes it.

    Raises:
        DataError: it cannot, or writes what was said before otherwise when more is said.
    """
    spans, before = [], ""
    for number, message in enumerate(text.messages, start=1):
        if message["role"] == "assistant":
            begun = render(text.name, text.messages[: number - 1], tokenizer, answer=True)
            said = render(text.name, text.messages[:number], tokenizer)
            spans.append((len(begun), len(said)))
            if not said.startswith(begun) or not begun.startswith(before):
                raise DataError(
                    f"{text.name}: the tokenizer's chat template writes earlier messages otherwise once more is said; "
                    "give it another `chat_template`, or conversations of one answer each"
                )
            before = said
    whole = render(text.name, text.messages, tokenizer)
    encoded = tokenizer(whole, add_special_tokens=False, return_offsets_mapping=True)
    places = np.array(encoded["offset_mapping"], np.int64).reshape(-1, 2)
    learned = np.zeros(len(places), bool)
    for start, stop in spans:
        learned |= (places[:, 0] >= start) & (places[:, 1] <= stop) & (places[:, 1] > places[:, 0])
    return TokenSequence(text.name, np.array(encoded["input_ids"], np.int64), learned)


def render(name: str, messages: Sequence[Message], tokenizer: PreTrainedTokenizerFast, answer: bool = False) -> str:
    """Messages as the template writes them.

    Args:
        name: of the text, for the error.
        answer: whether the assistant's next message is begun.
    Raises:
        DataError: the template refuses them.
    """
    try:
        return str(tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=answer))
    except (TemplateError, ValueError) as error:
        raise DataError(f"{name}: the tokenizer's chat template cannot write this conversation: {error}") from error


def collate(batch: Sequence[TokenSequence]) -> dict[str, Tensor]:
    """ids and learned, (batch, tokens), filled up at the end with tokens that nobody learns."""
    longest = max(len(sequence.ids) for sequence in batch)
    ids, learned = (
        torch.zeros(len(batch), longest, dtype=torch.long),
        torch.zeros(len(batch), longest, dtype=torch.bool),
    )
    for row, sequence in enumerate(batch):
        ids[row, : len(sequence.ids)] = torch.from_numpy(sequence.ids)
        learned[row, : len(sequence.ids)] = torch.from_numpy(sequence.learned)
    return {"ids": ids, "learned": learned}


def alike(own: Sequence[TokenSequence], vocabulary: int) -> Iterator[list[TokenSequence]]:
    """Batches of about one length, the shortest first, of some `LOGITS` at most; a sequence alone may have more."""
    batch: list[TokenSequence] = []
    for each in sorted(own, key=lambda each: (len(each.ids), each.name)):
        if batch and (len(batch) + 1) * len(each.ids) * vocabulary > LOGITS:
            yield batch
            batch = []
        batch.append(each)
    if batch:
        yield batch


def require_some(sequences: Sequence[TokenSequence], split: str) -> Sequence[TokenSequence]:
    """Refuse a split in which nothing is to be learned.

    Raises:
        ConfigurationError: so it is.
    """
    if not sequences:
        raise ConfigurationError(f"data: {split} holds nothing to foretell: every text is shorter than two tokens")
    return sequences
