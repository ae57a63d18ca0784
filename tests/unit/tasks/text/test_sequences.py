from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from transformers import PreTrainedTokenizerFast

from alambique.errors import ConfigurationError, DataError
from alambique.tasks.text import sequences
from alambique.tasks.text import tokenizer as tokenizers
from alambique.tasks.text.data import Text

TALK = (
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": "Who purred?"},
    {"role": "assistant", "content": "The cat."},
    {"role": "user", "content": "And then?"},
    {"role": "assistant", "content": "It slept."},
)


@pytest.fixture
def talking(texts: list[Text]) -> PreTrainedTokenizerFast:
    made = tokenizers.train_bpe([text.text for text in texts], 300)
    sequences.require_template(made, [Text("train/000000", "", None, TALK)])
    return made


def test_every_token_but_the_first_is_learned_once(tokenizer: PreTrainedTokenizerFast) -> None:
    text = Text("train/000003", "One sunny day Tom went to the park with his dog. " * 5)
    (whole,) = sequences.encode([text], tokenizer, 1000)
    assert (whole.ids[0], whole.ids[-1]) == (tokenizer.bos_token_id, tokenizer.eos_token_id)
    assert whole.learned.tolist() == [False] + [True] * (len(whole.ids) - 1)
    parts = sequences.encode([text], tokenizer, 16)
    assert [part.name for part in parts[:3]] == ["train/000003", "train/000003#0001", "train/000003#0002"]
    assert all(len(part.ids) <= 16 for part in parts)
    assert np.concatenate([part.ids[part.learned] for part in parts]).tolist() == whole.ids[1:].tolist()
    assert all(before.ids[-1] == after.ids[0] for before, after in pairwise(parts))
    assert [part.name for part in parts] == sorted(part.name for part in parts)


def test_a_conversation_is_learned_where_the_assistant_speaks(talking: PreTrainedTokenizerFast) -> None:
    (found,) = sequences.encode([Text("train/000000", "", None, TALK)], talking, 1000)
    assert talking.decode(found.ids[found.learned]) == "The cat.</s>\nIt slept.</s>\n"
    assert "<|user|>\nWho purred?" in talking.decode(found.ids)


def test_a_template_that_rewrites_what_was_said_is_refused(talking: PreTrainedTokenizerFast) -> None:
    talking.chat_template = "{{ messages | length }}{% for message in messages %}{{ message['content'] }}{% endfor %}"
    with pytest.raises(DataError, match="train/000000: the tokenizer's chat template writes earlier messages"):
        sequences.encode([Text("train/000000", "", None, TALK)], talking, 1000)
    talking.chat_template = "{{ raise_exception('roles must alternate') }}"
    with pytest.raises(DataError, match="roles must alternate"):
        sequences.encode([Text("train/000000", "", None, TALK)], talking, 1000)


def test_a_template_of_its_own_is_kept(talking: PreTrainedTokenizerFast) -> None:
    talking.chat_template = "{{ messages[0]['content'] }}"
    sequences.require_template(talking, [Text("train/000000", "", None, TALK)])
    assert talking.chat_template == "{{ messages[0]['content'] }}"


def test_batches_are_filled_up_with_what_nobody_learns(tokenizer: PreTrainedTokenizerFast) -> None:
    own = sequences.encode([Text("a", "The cat"), Text("b", "The cat purred and ran")], tokenizer, 100)
    batch = sequences.collate(own)
    assert batch["ids"].shape == batch["learned"].shape == (2, len(own[1].ids))
    assert not batch["learned"][0, len(own[0].ids) :].any()


def test_batches_hold_texts_of_one_length_and_few_logits(monkeypatch: pytest.MonkeyPatch) -> None:
    own = [sequences.TokenSequence(str(n), np.zeros(n, np.int64), np.ones(n, bool)) for n in (9, 2, 5, 3, 2)]
    monkeypatch.setattr(sequences, "LOGITS", 10 * 6)
    assert [[len(each.ids) for each in batch] for batch in sequences.alike(own, 10)] == [[2, 2], [3], [5], [9]]


def test_nothing_to_learn_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="train holds nothing to foretell"):
        sequences.require_some([], "train")
