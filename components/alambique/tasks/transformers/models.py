"""Language models: built from an architecture, saved, loaded, counted, and described by a card.

A checkpoint is a Hugging Face folder, `model/`, beside its card: `AutoModelForCausalLM.from_pretrained` loads it. Only
safetensors are read, and no code that a folder brings.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, PreTrainedModel, PreTrainedTokenizerFast
from transformers.utils import logging as transformers_logging

from alambique.config.text import Network
from alambique.errors import DataError
from alambique.files import write_json
from alambique.layout import CARD, Kind
from alambique.tasks.cards import read_card
from alambique.tasks.text import folders
from alambique.tasks.text import tokenizer as tokenizers

transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]


def build(network: Network, tokenizer: PreTrainedTokenizerFast, max_tokens: int, seed: int) -> LlamaForCausalLM:
    """A freshly initialised Llama.

    Args:
        network: its sizes.
        tokenizer: whose tokens it speaks.
        max_tokens: of a text.
        seed: equal seeds give equal weights; the global generator is left as it was.
    """
    sizes = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=network.hidden,
        intermediate_size=network.ffn,
        num_hidden_layers=network.layers,
        num_attention_heads=network.heads,
        num_key_value_heads=network.kv_heads or network.heads,
        max_position_embeddings=max_tokens,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(sizes)


def open_folder(folder: Path, tokenizer: PreTrainedTokenizerFast, max_tokens: int) -> PreTrainedModel:
    """The model in a Hugging Face folder, in FP32 and evaluation mode.

    Raises:
        DataError: the folder holds no causal language model in safetensors, or one of fewer tokens than the tokenizer.
        ConfigurationError: it cannot take texts of `max_tokens`.
    """
    if not (folder / folders.CONFIG).is_file():
        raise DataError(f"{folder} has no {folders.CONFIG}: give a Hugging Face folder of a causal language model")
    try:
        model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False, use_safetensors=True, dtype=torch.float32
        )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise DataError(f"{folder} holds no causal language model in safetensors: {error}") from error
    folders.require_fit(model, folder, tokenizer, max_tokens)
    model.eval()  # type: ignore[no-untyped-call]
    return model


def load(folder: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """A checkpoint's model and tokenizer, once its files are what the card says.

    Args:
        folder: the checkpoint's.
    Raises:
        IntegrityError: a file is not what the card says.
    """
    card = read_card(folder)
    tokenizer = tokenizers.load(folder / folders.MODEL)
    return open_folder(folder / folders.MODEL, tokenizer, card["max_tokens"]), tokenizer


def logits(model: nn.Module, ids: Tensor, vocabulary: int) -> Tensor:
    """What the model gives for each next token.

    Texts are padded at the end, where no token before looks, so that nothing needs a mask. Some models have room for
    more tokens than their tokenizer knows; these places are cut off.

    Args:
        ids: (batch, tokens).
        vocabulary: tokens that the tokenizer knows.
    Returns:
        (batch, tokens, vocabulary).
    """
    found: Tensor = model(input_ids=ids, use_cache=False).logits
    return found[..., :vocabulary]


def macs(model: PreTrainedModel, max_tokens: int) -> int:
    """Multiply-accumulates of a token, at the mean over a text of full length."""
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        model(input_ids=torch.zeros(1, max_tokens, dtype=torch.long), use_cache=False)
    return int(counter.get_total_flops()) // 2 // max_tokens


def write_card(
    folder: Path,
    kind: Kind | str,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    max_tokens: int,
    data: str,
    student: str | None = None,
    teachers: Sequence[str] = (),
    source: str | None = None,
    **measured: float,
) -> dict[str, Any]:
    """Describe the checkpoint that `folders.save` wrote into `folder` in card.json, and return what was written.

    Args:
        kind: teacher, distilled, control or pruned.
        max_tokens: of a text.
        data: digest of the split it was trained on.
        student: its name, if it is one.
        teachers: sha256 of those it learned from, if any.
        source: where its first weights came from; None: initialised at random.
        measured: figures on val.
    """
    card = {
        "task": "text",
        "kind": kind,
        "student": student,
        **folders.described(folder, model, tokenizer),
        "macs": macs(model, max_tokens),
        "max_tokens": max_tokens,
        "network": describe(model),
        "classes": [],
        "data": data,
        "teachers": list(teachers),
        "source": source,
        **measured,
    }
    write_json(folder / CARD, card)
    return card


def describe(model: PreTrainedModel) -> dict[str, Any]:
    """How the model is built."""
    config = model.config
    return {
        "architecture": type(model).__name__,
        "layers": config.num_hidden_layers,
        "hidden": config.hidden_size,
        "heads": config.num_attention_heads,
        "kv_heads": getattr(config, "num_key_value_heads", config.num_attention_heads),
        "ffn": getattr(config, "intermediate_size", None),
        "head_width": getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads,
    }
