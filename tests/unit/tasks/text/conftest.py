"""A tokenizer, a model and some texts, small enough for every test."""

from __future__ import annotations

from copy import deepcopy
from random import Random

import pytest
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from alambique.config.text import Network
from alambique.demo.stories import story
from alambique.tasks.text import network, sequences
from alambique.tasks.text import tokenizer as tokenizers
from alambique.tasks.text.data import Text
from alambique.tasks.text.sequences import TokenSequence

SIZES = Network(layers=3, hidden=32, heads=4, kv_heads=2, ffn=48)
MAX_TOKENS = 48


@pytest.fixture(scope="session")
def texts() -> list[Text]:
    chance = Random(0)
    return [Text(f"train/{number:06d}", story(chance)[:150]) for number in range(12)]


@pytest.fixture(scope="session")
def tokenizer(texts: list[Text]) -> PreTrainedTokenizerFast:
    return tokenizers.train_bpe([text.text for text in texts], 300)


@pytest.fixture
def model(still: PreTrainedModel) -> PreTrainedModel:
    """One that a test may change."""
    return deepcopy(still)


@pytest.fixture(scope="session")
def still(tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    made = network.build(SIZES, tokenizer, MAX_TOKENS, seed=1)
    made.eval()
    for parameter in made.parameters():  # as it is begun, a network is as good as uniform
        parameter.data.mul_(4)
    return made


@pytest.fixture(scope="session")
def own(texts: list[Text], tokenizer: PreTrainedTokenizerFast) -> list[TokenSequence]:
    return sequences.encode(texts, tokenizer, MAX_TOKENS)
