"""The smallest BERT that still has layers to choose from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from transformers import PreTrainedTokenizerFast

from alambique.config.text_classify import Network
from alambique.tasks.transformers import models

NETWORK = Network(layers=3, hidden=16, heads=2, ffn=32)
TOKENS = 24
"""Of a text at most."""


def build(tokenizer: PreTrainedTokenizerFast, classes: Sequence[str], seed: int = 0) -> Any:
    """A fresh one, in evaluation mode."""
    model: Any = models.build_bert(NETWORK, tokenizer, classes, TOKENS, seed)
    return model.eval()
