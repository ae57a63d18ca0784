from __future__ import annotations

import math

import numpy as np
import pytest
from transformers import PreTrainedTokenizerFast

from alambique.tasks.transformers import sequences, text_metrics, tokenizers
from alambique.tasks.transformers.dataset import Text
from alambique.tasks.transformers.sequences import EncodedText

STORY = "The cat sat. It didn't purr: 漢字!"
WORDS = ["The", "cat", "sat", ".", "It", "didn", "'", "t", "purr", ":", "漢", "字", "!"]


def encode(text: Text, tokenizer: PreTrainedTokenizerFast) -> EncodedText:
    (encoded,) = sequences.encode_whole([text], tokenizer)
    return encoded


@pytest.mark.parametrize("size", [260, 300, 400])
def test_words_and_bytes_do_not_depend_on_the_tokenizer(size: int) -> None:
    tokenizer = tokenizers.train_bpe([STORY, "The cat sat on the mat."] * 3, size)
    text = encode(Text("a", STORY), tokenizer)
    tokens = int(text.loss_mask.sum())
    figures = text_metrics.count(text, np.ones(tokens, bool), np.full(tokens, 2.0, np.float32))
    assert (figures.words, figures.correct_words, figures.bytes) == (len(WORDS), len(WORDS), len(STORY.encode()))
    assert figures.content_nats == 2.0 * (tokens - 1)  # all but the mark of the end
    bits = 2.0 * (tokens - 1) / math.log(2) / len(STORY.encode())
    assert text_metrics.summarize([figures])["bits_per_byte"] == pytest.approx(bits)


def test_a_word_is_right_when_all_its_tokens_are(tokenizer: PreTrainedTokenizerFast) -> None:
    text = encode(Text("a", STORY), tokenizer)
    places = np.flatnonzero(text.loss_mask)
    for word in ("cat", "漢"):
        start = STORY.index(word)
        within = [n for n, (a, b) in enumerate(text.spans[places]) if a < start + len(word) and b > start]
        assert within
        for wrong in within:
            correct = np.ones(len(places), bool)
            correct[wrong] = False
            assert text_metrics.count(text, correct, np.zeros(len(places))).correct_words == len(WORDS) - 1


def test_a_first_token_that_nothing_stands_before_is_not_counted(texts: list[Text]) -> None:
    tokenizer = tokenizers.train_bpe([text.text for text in texts], 300)
    tokenizer.backend_tokenizer.post_processor = None
    tokenizer.bos_token = None
    text = encode(Text("a", "cats purr"), tokenizer)
    first, tokens = int(text.spans[0, 1]), int(text.loss_mask.sum())
    assert first > 0
    figures = text_metrics.count(text, np.ones(tokens, bool), np.zeros(tokens))
    assert (figures.words, figures.bytes) == (1, len("cats purr") - first)


def test_of_a_conversation_the_assistants_words_count() -> None:
    talk = ({"role": "user", "content": "Who purred?"}, {"role": "assistant", "content": "The cat, twice."})
    tokenizer = tokenizers.train_bpe(["Who purred? The cat, twice."] * 3, 300)
    tokenizers.require_template(tokenizer, [Text("a", "", None, talk)])
    text = encode(Text("a", "", None, talk), tokenizer)
    tokens = int(text.loss_mask.sum())
    figures = text_metrics.count(text, np.ones(tokens, bool), np.ones(tokens))
    assert (figures.words, figures.bytes) == (5, len("The cat, twice."))
    assert figures.content_nats < tokens


def test_what_no_number_holds_is_infinite() -> None:
    assert text_metrics.perplexity(1000.0) == math.inf
    assert text_metrics.perplexity(math.log(7)) == pytest.approx(7)
