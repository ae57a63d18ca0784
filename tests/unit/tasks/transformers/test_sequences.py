from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from transformers import PreTrainedTokenizerFast

from alambique.errors import ConfigurationError, DataError
from alambique.tasks.transformers import sequences, tokenizers
from alambique.tasks.transformers.dataset import Text

TALK = (
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": "Who purred?"},
    {"role": "assistant", "content": "The cat."},
    {"role": "user", "content": "And then?"},
    {"role": "assistant", "content": "It slept."},
)


@pytest.fixture
def chat_tokenizer(texts: list[Text]) -> PreTrainedTokenizerFast:
    tokenizer = tokenizers.train_bpe([text.text for text in texts], 300)
    tokenizers.require_template(tokenizer, [Text("train/000000", "", None, TALK)])
    return tokenizer


def test_every_token_but_the_first_is_in_one_loss_mask(tokenizer: PreTrainedTokenizerFast) -> None:
    text = Text("train/000003", "One sunny day Tom went to the park with his dog. " * 5)
    (whole,) = sequences.encode([text], tokenizer, 1000)
    assert (whole.ids[0], whole.ids[-1]) == (tokenizer.bos_token_id, tokenizer.eos_token_id)
    assert whole.loss_mask.tolist() == [False] + [True] * (len(whole.ids) - 1)
    parts = sequences.encode([text], tokenizer, 16)
    assert [part.name for part in parts[:3]] == ["train/000003", "train/000003#0001", "train/000003#0002"]
    assert all(len(part.ids) <= 16 for part in parts)
    assert np.concatenate([part.ids[part.loss_mask] for part in parts]).tolist() == whole.ids[1:].tolist()
    assert all(before.ids[-1] == after.ids[0] for before, after in pairwise(parts))
    assert [part.name for part in parts] == sorted(part.name for part in parts)


def test_of_a_conversation_the_assistants_messages_are_in_the_loss_mask(
    chat_tokenizer: PreTrainedTokenizerFast,
) -> None:
    (encoded,) = sequences.encode([Text("train/000000", "", None, TALK)], chat_tokenizer, 1000)
    assert chat_tokenizer.decode(encoded.ids[encoded.loss_mask]) == "The cat.</s>\nIt slept.</s>\n"
    assert "<|user|>\nWho purred?" in chat_tokenizer.decode(encoded.ids)


def test_a_template_that_rewrites_earlier_messages_is_refused(chat_tokenizer: PreTrainedTokenizerFast) -> None:
    chat_tokenizer.chat_template = (
        "{{ messages | length }}{% for message in messages %}{{ message['content'] }}{% endfor %}"
    )
    with pytest.raises(DataError, match="train/000000: the tokenizer's chat template writes earlier messages"):
        sequences.encode([Text("train/000000", "", None, TALK)], chat_tokenizer, 1000)
    chat_tokenizer.chat_template = "{{ raise_exception('roles must alternate') }}"
    with pytest.raises(DataError, match="roles must alternate"):
        sequences.encode([Text("train/000000", "", None, TALK)], chat_tokenizer, 1000)


def test_a_template_of_its_own_is_kept(chat_tokenizer: PreTrainedTokenizerFast) -> None:
    chat_tokenizer.chat_template = "{{ messages[0]['content'] }}"
    tokenizers.require_template(chat_tokenizer, [Text("train/000000", "", None, TALK)])
    assert chat_tokenizer.chat_template == "{{ messages[0]['content'] }}"


def test_batches_are_padded_outside_of_the_loss_mask(tokenizer: PreTrainedTokenizerFast) -> None:
    encoded = sequences.encode([Text("a", "The cat"), Text("b", "The cat purred and ran")], tokenizer, 100)
    batch = sequences.collate(encoded)
    assert batch["ids"].shape == batch["loss_mask"].shape == (2, len(encoded[1].ids))
    assert not batch["loss_mask"][0, len(encoded[0].ids) :].any()


def test_batches_hold_texts_of_one_length_and_few_logits(monkeypatch: pytest.MonkeyPatch) -> None:
    encoded = [sequences.TokenSequence(str(n), np.zeros(n, np.int64), np.ones(n, bool)) for n in (9, 2, 5, 3, 2)]
    monkeypatch.setattr(sequences, "LOGITS", 10 * 6)
    assert [[len(text.ids) for text in batch] for batch in sequences.bucket_by_length(encoded, 10)] == [
        [2, 2],
        [3],
        [5],
        [9],
    ]


def test_a_split_without_a_token_to_predict_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="train holds no token to predict"):
        sequences.require_some([], "train")
