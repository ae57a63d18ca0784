from __future__ import annotations

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from alambique.demo.intents import Intents
from alambique.tasks.text import tokenizer as tokenizers
from alambique.tasks.text.data import Texts
from alambique.tasks.text_classify.adopt import adopt


@pytest.fixture(scope="session")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Texts:
    """A tiny dataset of intents. Read-only."""
    torch.set_num_threads(1)
    home = tmp_path_factory.mktemp("intents")
    Intents(train=24, val=12, test=12, unlabelled=12).write(home / "source")
    adopt(str(home / "source"), home / "data")
    return Texts.load(home / "data")


@pytest.fixture(scope="session")
def wordpiece(asked: Texts) -> PreTrainedTokenizerFast:
    return tokenizers.train_wordpiece(tokenizers.corpus(asked), 300)
