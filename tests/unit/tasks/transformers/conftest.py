"""Tokenizers, networks and texts, small enough for every test."""

from __future__ import annotations

from copy import deepcopy
from random import Random
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from alambique.config.text import Network
from alambique.demo.texts import Intents, story
from alambique.tasks.transformers import models, sequences, tokenizers
from alambique.tasks.transformers.dataset import Text, Texts
from alambique.tasks.transformers.import_dataset import import_labelled
from alambique.tasks.transformers.sequences import TokenSequence

SIZES = Network(layers=3, hidden=32, heads=4, kv_heads=2, ffn=48)
MAX_TOKENS = 48

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def texts() -> list[Text]:
    chance = Random(0)
    return [Text(f"train/{number:06d}", story(chance)[:150]) for number in range(12)]


@pytest.fixture(scope="session")
def tokenizer(texts: list[Text]) -> PreTrainedTokenizerFast:
    return tokenizers.train_bpe([text.text for text in texts], 300)


@pytest.fixture
def model(llama: PreTrainedModel) -> PreTrainedModel:
    """A Llama that a test may change."""
    return deepcopy(llama)


@pytest.fixture(scope="session")
def llama(tokenizer: PreTrainedTokenizerFast) -> Any:
    """Read-only."""
    built: Any = models.build_llama(SIZES, tokenizer, MAX_TOKENS, seed=1)
    built.eval()
    for parameter in built.parameters():  # as initialised, a network's predictions are almost uniform
        parameter.data.mul_(4)
    return built


@pytest.fixture(scope="session")
def encoded(texts: list[Text], tokenizer: PreTrainedTokenizerFast) -> list[TokenSequence]:
    return sequences.encode(texts, tokenizer, MAX_TOKENS)


@pytest.fixture(scope="session")
def intents(tmp_path_factory: pytest.TempPathFactory) -> Texts:
    """A tiny dataset of labelled texts. Read-only."""
    home = tmp_path_factory.mktemp("intents")
    Intents(train=24, val=12, test=12, unlabelled=12).write(home / "source")
    import_labelled(str(home / "source"), home / "data")
    return Texts.load(home / "data")


@pytest.fixture(scope="session")
def wordpiece(intents: Texts) -> PreTrainedTokenizerFast:
    return tokenizers.train_wordpiece([text.text for text in intents.training_texts()], 300)
