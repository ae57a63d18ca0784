"""Figures of predicted texts that do not depend on the tokenizer, beside those that do.

Two language models with different tokenizers predict different tokens of the same text, so that neither the share of
tokens that each gets right nor its perplexity per token can be compared. These can:

- word accuracy: share of the words all of whose tokens are the likeliest ones, given the text before each: the words
  that greedy decoding would write. A word is a run of letters and digits, a single ideograph or kana, or a single
  punctuation mark.
- bits per byte: what the tokens of the text cost, −log₂ p summed up, over the bytes of the text in UTF-8.

Both leave out what is no part of the text (the marks of its beginning and end, what a chat template adds), and a first
token that nothing stands before, where the tokenizer has no mark for the beginning.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from alambique.tasks.transformers.sequences import EncodedText

IDEOGRAPHS = r"\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
WORD = re.compile(rf"[{IDEOGRAPHS}]|[^\W{IDEOGRAPHS}]+|[^\w\s]")


class TextFigures(NamedTuple):
    """Counts of one text, or sums over several.

    Attributes:
        words: how many there are.
        correct_words: those all of whose tokens were predicted correctly.
        bytes: of the content.
        content_nats: −log p of the content's tokens.
        tokens: that were predicted.
        correct_tokens: those that were the likeliest.
        nats: −log p of all tokens.
    """

    words: int
    correct_words: int
    bytes: int
    content_nats: float
    tokens: int
    correct_tokens: int
    nats: float


def count(text: EncodedText, correct: NDArray[np.bool_], nats: NDArray[np.floating]) -> TextFigures:
    """The figures of one text, from `correct` and −log p (`nats`) of the p tokens in its loss mask, (p,)."""
    spans = text.spans[text.loss_mask]
    in_text = spans[:, 1] > spans[:, 0]
    words = _words(text)
    covered = _overlaps(words, spans[in_text])
    missed = _overlaps(words, spans[in_text & ~correct])
    content = np.array(text.content, np.int64).reshape(-1, 2)
    first, last = _ranges(content, spans)
    return TextFigures(
        words=len(words),
        correct_words=int(((covered > 0) & (missed == 0)).sum()),
        bytes=sum(len(text.text[start:stop].encode()) for start, stop in text.content),
        content_nats=float(nats[in_text & (first < last)].sum(dtype=float)),
        tokens=len(correct),
        correct_tokens=int(correct.sum()),
        nats=float(nats.sum(dtype=float)),
    )


def summarize(figures: Iterable[TextFigures]) -> dict[str, float]:
    """Metrics of some texts: accuracy (of words), bits_per_byte, token_accuracy, perplexity (per token)."""
    total = TextFigures(*(sum(column) for column in zip(*figures, strict=True)))
    return {
        "accuracy": total.correct_words / max(total.words, 1),
        "bits_per_byte": total.content_nats / math.log(2) / max(total.bytes, 1),
        "token_accuracy": total.correct_tokens / max(total.tokens, 1),
        "perplexity": perplexity(total.nats / max(total.tokens, 1)),
    }


def perplexity(nats: float) -> float:
    """Of a mean cross-entropy; infinite where no number holds it."""
    return math.exp(nats) if not nats > 700 else math.inf


def _words(text: EncodedText) -> NDArray[np.int64]:
    """Spans of the words inside of the content, (words, 2)."""
    spans = [match.span() for match in WORD.finditer(text.text)]
    inside = [span for span in spans if any(start <= span[0] and span[1] <= stop for start, stop in text.content)]
    return np.array(inside, np.int64).reshape(-1, 2)


def _overlaps(words: NDArray[np.int64], tokens: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many of the tokens share characters with each word, (words,)."""
    first, last = _ranges(words, tokens)
    changes = np.zeros(len(words) + 1, np.int64)
    np.add.at(changes, first, 1)
    np.add.at(changes, last, -1)
    return changes.cumsum()[:-1]


def _ranges(spans: NDArray[np.int64], tokens: NDArray[np.int64]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """First and end of the (sorted, disjoint) spans that each token shares characters with."""
    first = np.searchsorted(spans[:, 1], tokens[:, 0], side="right")
    return first, np.searchsorted(spans[:, 0], tokens[:, 1], side="left")
