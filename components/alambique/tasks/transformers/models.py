"""Llamas and BERTs built from an architecture, others loaded from a folder; their logits and their MACs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    BertConfig,
    BertForSequenceClassification,
    DynamicCache,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)
from transformers.utils import logging as transformers_logging

from alambique.config import text, text_classify
from alambique.errors import DataError
from alambique.files import read_json
from alambique.tasks.transformers.checkpoint import CONFIG, load_model


def build_llama(
    architecture: text.Network, tokenizer: PreTrainedTokenizerFast, max_tokens: int, seed: int
) -> LlamaForCausalLM:
    """A freshly initialised Llama; equal seeds give equal weights, and the global generator is left as it was."""
    sizes = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=architecture.hidden,
        intermediate_size=architecture.ffn,
        num_hidden_layers=architecture.layers,
        num_attention_heads=architecture.heads,
        num_key_value_heads=architecture.kv_heads or architecture.heads,
        max_position_embeddings=max_tokens,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(sizes)


def load_causal(folder: Path) -> PreTrainedModel:
    """The causal language model in a Hugging Face folder; see `checkpoint.load_model`."""
    return load_model(folder, AutoModelForCausalLM, "a causal language model")


def token_logits(model: nn.Module, ids: Tensor, vocabulary: int) -> Tensor:
    """A causal language model's logits for each next token.

    Texts are padded at the end, where no earlier token attends to, so that nothing needs a mask. Some models have room
    for more tokens than their tokenizer knows; these are cut off.

    Args:
        ids: (batch, tokens).
        vocabulary: tokens that the tokenizer knows.
    Returns:
        (batch, tokens, vocabulary).
    """
    logits: Tensor = model(input_ids=ids, use_cache=False).logits
    return logits[..., :vocabulary]


def decode(
    model: nn.Module, vocabulary: int, ids: Tensor, keys: Tensor, values: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """One decoding step as `decoder.Decoder` computes it, by the library itself.

    Args:
        vocabulary: tokens that the tokenizer knows.
        ids: (1, tokens).
        keys, values: of the tokens before, (layers, kv_heads, past, width).
    Returns:
        logits, (1, tokens, vocabulary); keys and values of all tokens.
    """
    cache = DynamicCache()
    if keys.shape[2]:
        for number, (key, value) in enumerate(zip(keys, values, strict=True)):
            cache.update(key[None], value[None], number)
    logits: Tensor = model(input_ids=ids, past_key_values=cache, use_cache=True).logits
    whole = [torch.stack([getattr(layer, name)[0] for layer in cache.layers]) for name in ("keys", "values")]
    return logits[..., :vocabulary], whole[0], whole[1]


def macs(model: PreTrainedModel, max_tokens: int) -> int:
    """Multiply-accumulates for a text of full length."""
    ids = torch.zeros(1, max_tokens, dtype=torch.long, device=model.device)
    options = {"use_cache": False} if model.can_generate() else {}
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        model(input_ids=ids, **options)
    return int(counter.get_total_flops()) // 2


def build_bert(
    architecture: text_classify.Network,
    tokenizer: PreTrainedTokenizerFast,
    classes: Sequence[str],
    max_tokens: int,
    seed: int,
) -> BertForSequenceClassification:
    """A freshly initialised BERT; equal seeds give equal weights, and the global generator is left as it was."""
    sizes = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=architecture.hidden,
        num_hidden_layers=architecture.layers,
        num_attention_heads=architecture.heads,
        intermediate_size=architecture.ffn,
        max_position_embeddings=max_tokens,
        pad_token_id=tokenizer.pad_token_id,
        type_vocab_size=1,
        **_labels(classes),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return BertForSequenceClassification(sizes)


def load_classifier(folder: Path, classes: Sequence[str], seed: int) -> PreTrainedModel:
    """An encoder from a Hugging Face folder, with a new head, drawn by `seed`, unless it has one for as many classes.

    Raises:
        DataError: the folder holds no encoder in safetensors.
    """
    before = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]  # it warns of new heads
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return load_model(
                folder,
                AutoModelForSequenceClassification,
                "an encoder, such as a BERT",
                ignore_mismatched_sizes=True,
                **_labels(classes),
            )
    finally:
        transformers_logging.set_verbosity(before)


def classes_of(folder: Path) -> list[str]:
    """The classes of a model in a Hugging Face folder, in index order; a DataError without a configuration."""
    try:
        names: dict[str, str] = read_json(folder / CONFIG).get("id2label", {})
    except (OSError, ValueError) as error:
        raise DataError(f"{folder} has no {CONFIG} that can be read: {error}") from error
    return [names[index] for index in sorted(names, key=int)]


def class_logits(model: nn.Module, ids: Tensor, mask: Tensor | None = None) -> Tensor:
    """Logits, (batch, classes), of tokens, (batch, tokens); `mask` is 0 where a text is padded, None if none is."""
    logits: Tensor = model(input_ids=ids, attention_mask=mask).logits
    return logits


def _labels(classes: Sequence[str]) -> dict[str, Any]:
    return {"id2label": dict(enumerate(classes)), "label2id": {name: index for index, name in enumerate(classes)}}
