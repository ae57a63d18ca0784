"""Low-rank adapters: few weights of a student are trained, and merged into the given ones at the end."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from alambique.config.text import Lora
from alambique.errors import ConfigurationError


def adapt(model: PreTrainedModel, how: Lora, seed: int) -> nn.Module:
    """The model with adapters on all its linear layers but the output; nothing else is trained.

    Args:
        seed: equal seeds give equal adapters; the global generator is left as it was.
    Raises:
        ConfigurationError: peft is not installed.
    """
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError:
        raise ConfigurationError('lora: peft cannot be imported; run `pip install "alambique[text]"`') from None
    settings = LoraConfig(r=how.rank, lora_alpha=how.alpha, target_modules="all-linear", task_type="CAUSAL_LM")  # type: ignore[arg-type]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        adapted: nn.Module = get_peft_model(model, settings)
    return adapted


def merge(adapted: Any) -> PreTrainedModel:
    """The model that `adapt` was given, with the adapters' products added to its weights."""
    model: PreTrainedModel = adapted.merge_and_unload()
    return model.requires_grad_(True)
