"""Texts as the tokens of a causal language model, cut to windows; and which of them the loss is taken of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from jinja2 import TemplateError
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedTokenizerFast

from alambique.errors import ConfigurationError, DataError
from alambique.tasks.transformers.dataset import Message, Text
from alambique.tasks.transformers.prunable import Batches

CHUNK = 1000
"""Texts that are encoded at a time."""
LOGITS = 1 << 25
"""Of a batch outside of training: 128 MiB."""
IMPORTANCE_TEXTS, IMPORTANCE_BATCH = 128, 16
"""Sequences on which importance is measured, the first of train."""


class EncodedText(NamedTuple):
    """A whole text in n tokens.

    Attributes:
        text: what was tokenized: the text itself, or the conversation as the template renders it.
        ids: the tokens, (n,).
        spans: first character and end of each in `text`, (n, 2); (0, 0) for a token that stands for none.
        loss_mask: which of them are to be predicted from those before, (n,); never the first.
        content: spans of `text` that are to be predicted, without what the template adds and the first token.
    """

    name: str
    text: str
    ids: NDArray[np.int64]
    spans: NDArray[np.int64]
    loss_mask: NDArray[np.bool_]
    content: list[tuple[int, int]]


class TokenSequence(NamedTuple):
    """A text's tokens, or a window of them.

    Attributes:
        name: of the text; a further window's has its number appended, as in train/000012#0001.
        ids: the tokens, (n,).
        loss_mask: which of them are to be predicted from those before, (n,).
    """

    name: str
    ids: NDArray[np.int64]
    loss_mask: NDArray[np.bool_]


def encode(texts: Sequence[Text], tokenizer: PreTrainedTokenizerFast, max_tokens: int) -> list[TokenSequence]:
    """The texts' tokens, in windows of at most `max_tokens`; see `encode_whole` and `windows`."""
    return [window for text in encode_whole(texts, tokenizer) for window in windows(text, max_tokens)]


def encode_whole(texts: Sequence[Text], tokenizer: PreTrainedTokenizerFast) -> Iterator[EncodedText]:
    """The texts' tokens. A text is to be predicted as a whole, and of a conversation the assistant's messages.

    Raises:
        DataError: the tokenizer's template cannot render a conversation.
    """
    for start in range(0, len(texts), CHUNK):
        part = texts[start : start + CHUNK]
        plain = [text.text for text in part if not text.messages]
        encoded = tokenizer(plain, return_offsets_mapping=True) if plain else {"input_ids": [], "offset_mapping": []}
        rows = zip(encoded["input_ids"], encoded["offset_mapping"], strict=True)
        for text in part:
            yield _conversation(text, tokenizer) if text.messages else _plain(text, *next(rows), tokenizer)


def windows(text: EncodedText, max_tokens: int) -> Iterator[TokenSequence]:
    """A text in windows; each but the first begins with the last token of the one before, so that every token of the
    loss mask is in one window's. Windows without any are left out.
    """
    for number, start in enumerate(range(0, max(len(text.ids) - 1, 1), max_tokens - 1)):
        stop = start + max_tokens
        ids, loss_mask = text.ids[start:stop], text.loss_mask[start:stop].copy()
        loss_mask[:1] = False  # nothing stands before it
        if loss_mask.any():
            yield TokenSequence(f"{text.name}#{number:04d}" if number else text.name, ids, loss_mask)


def render(name: str, messages: Sequence[Message], tokenizer: PreTrainedTokenizerFast, answer: bool = False) -> str:
    """Messages of the text `name` as the chat template renders them; with `answer`, the assistant's next one is begun.

    Raises:
        DataError: the template refuses them.
    """
    try:
        return str(tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=answer))
    except (TemplateError, ValueError) as error:
        raise DataError(f"{name}: the tokenizer's chat template cannot write this conversation: {error}") from error


def collate(batch: Sequence[TokenSequence]) -> dict[str, Tensor]:
    """ids and loss_mask, (batch, tokens), padded at the end with tokens outside of the loss."""
    columns = ("ids", "loss_mask")
    rows = {name: [torch.from_numpy(getattr(sequence, name)) for sequence in batch] for name in columns}
    return {name: pad_sequence(tensors, batch_first=True) for name, tensors in rows.items()}


def bucket_by_length(sequences: Sequence[TokenSequence], vocabulary: int) -> Iterator[list[TokenSequence]]:
    """Batches of about one length, the shortest first, of `LOGITS` at most; a sequence alone may have more."""
    batch: list[TokenSequence] = []
    for sequence in sorted(sequences, key=lambda sequence: (len(sequence.ids), sequence.name)):
        if batch and (len(batch) + 1) * len(sequence.ids) * vocabulary > LOGITS:
            yield batch
            batch = []
        batch.append(sequence)
    if batch:
        yield batch


def require_some(sequences: Sequence[TokenSequence], split: str) -> Sequence[TokenSequence]:
    """The sequences; ConfigurationError where the split has no token to predict."""
    if not sequences:
        raise ConfigurationError(
            f"data: {split} holds no token to predict: every text is shorter than two tokens, or a "
            "conversation without a message of an assistant"
        )
    return sequences


def _plain(text: Text, ids: list[int], spans: list[tuple[int, int]], tokenizer: PreTrainedTokenizerFast) -> EncodedText:
    """A text between the tokens that mark beginnings and ends of texts, where the tokenizer has such."""
    begin, end = tokenizer.bos_token_id, tokenizer.eos_token_id
    if begin is not None and ids[:1] != [begin]:
        ids, spans = [begin, *ids], [(0, 0), *spans]
    if end is not None and ids[-1:] != [end]:
        ids, spans = [*ids, end], [*spans, (0, 0)]
    return _encoded(text.name, text.text, ids, spans, np.ones(len(ids), bool), [(0, len(text.text))])


def _conversation(text: Text, tokenizer: PreTrainedTokenizerFast) -> EncodedText:
    """A conversation as the template renders it; DataError if earlier messages change once there are more."""
    answers, content, before = [], [], ""
    for number, message in enumerate(text.messages, start=1):
        if message["role"] == "assistant":
            begun = render(text.name, text.messages[: number - 1], tokenizer, answer=True)
            ended = render(text.name, text.messages[:number], tokenizer)
            answers.append((len(begun), len(ended)))
            if not ended.startswith(begun) or not begun.startswith(before):
                raise DataError(
                    f"{text.name}: the tokenizer's chat template writes earlier messages otherwise once more is said; "
                    "give it another `chat_template`, or conversations of one answer each"
                )
            place = ended.find(answer := message["content"].strip(), len(begun))
            # Templates may rewrite what they render; then all that they write counts.
            content.append((place, place + len(answer)) if place >= 0 else answers[-1])
            before = ended
    whole = render(text.name, text.messages, tokenizer)
    encoded = tokenizer(whole, add_special_tokens=False, return_offsets_mapping=True)
    spans = np.array(encoded["offset_mapping"], np.int64).reshape(-1, 2)
    loss_mask = np.zeros(len(spans), bool)
    for start, stop in answers:
        loss_mask |= (spans[:, 0] >= start) & (spans[:, 1] <= stop) & (spans[:, 1] > spans[:, 0])
    return _encoded(text.name, whole, encoded["input_ids"], spans, loss_mask, content)


def _encoded(
    name: str, text: str, ids: list[int], spans: Any, loss_mask: NDArray[np.bool_], content: list[tuple[int, int]]
) -> EncodedText:
    places = np.array(spans, np.int64).reshape(-1, 2)
    loss_mask[:1] = False  # nothing stands before it
    first = int(places[0, 1]) if len(places) else 0
    within = [(max(start, first), stop) for start, stop in content if stop > first]
    return EncodedText(name, text, np.array(ids, np.int64), places, loss_mask, within)


def importance_batches(texts: Sequence[Text], tokenizer: PreTrainedTokenizerFast, max_tokens: int) -> Batches:
    """The first texts of train as `measure_importance` takes them; padding counts as tokens do."""
    encoded = encode(texts[:IMPORTANCE_TEXTS], tokenizer, max_tokens)[:IMPORTANCE_TEXTS]
    for start in range(0, len(encoded), IMPORTANCE_BATCH):
        ids = collate(encoded[start : start + IMPORTANCE_BATCH])["ids"]
        yield {"input_ids": ids, "use_cache": False}, torch.ones(ids.shape, dtype=torch.bool)
