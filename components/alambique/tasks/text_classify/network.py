"""Classifiers of texts: built from an architecture, saved, loaded, counted, and described by a card.

A checkpoint is a Hugging Face folder, `model/`, beside its card: `AutoModelForSequenceClassification.from_pretrained`
loads it. Only safetensors are read, and no code that a folder brings.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    BertForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)
from transformers.utils import logging as transformers_logging

from alambique.config.text_classify import Network
from alambique.errors import DataError
from alambique.files import read_json, write_json
from alambique.layout import CARD, Kind
from alambique.tasks.cards import read_card
from alambique.tasks.text import folders
from alambique.tasks.text import tokenizer as tokenizers

transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]


def build(
    network: Network, tokenizer: PreTrainedTokenizerFast, classes: Sequence[str], max_tokens: int, seed: int
) -> BertForSequenceClassification:
    """A freshly initialised BERT.

    Args:
        network: its sizes.
        tokenizer: whose tokens it reads.
        classes: names, in index order.
        max_tokens: of a text.
        seed: equal seeds give equal weights; the global generator is left as it was.
    """
    sizes = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=network.hidden,
        num_hidden_layers=network.layers,
        num_attention_heads=network.heads,
        intermediate_size=network.ffn,
        max_position_embeddings=max_tokens,
        pad_token_id=tokenizer.pad_token_id,
        type_vocab_size=1,
        **_labels(classes),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return BertForSequenceClassification(sizes)


def open_folder(
    folder: Path, tokenizer: PreTrainedTokenizerFast, classes: Sequence[str], max_tokens: int, seed: int
) -> PreTrainedModel:
    """An encoder from a Hugging Face folder, in FP32 and evaluation mode, with a new head unless it has one for these
    classes.

    Args:
        seed: of a new head.
    Raises:
        DataError: the folder holds no encoder in safetensors, or one of fewer tokens than the tokenizer.
        ConfigurationError: it cannot take texts of `max_tokens`.
    """
    if not (folder / folders.CONFIG).is_file():
        raise DataError(f"{folder} has no {folders.CONFIG}: give a Hugging Face folder of an encoder, such as a BERT")
    before = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]  # of new heads, which are wanted
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model: PreTrainedModel = AutoModelForSequenceClassification.from_pretrained(
                folder,
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                dtype=torch.float32,
                ignore_mismatched_sizes=True,
                **_labels(classes),
            )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise DataError(f"{folder} holds no encoder of texts in safetensors: {error}") from error
    finally:
        transformers_logging.set_verbosity(before)
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
    return open_folder(folder / folders.MODEL, tokenizer, card["classes"], card["max_tokens"], 0), tokenizer


def classes_of(folder: Path) -> list[str]:
    """What the model in a Hugging Face folder tells apart, in index order.

    Raises:
        DataError: it has no configuration.
    """
    try:
        names: dict[str, str] = read_json(folder / folders.CONFIG).get("id2label", {})
    except (OSError, ValueError) as error:
        raise DataError(f"{folder} has no {folders.CONFIG} that can be read: {error}") from error
    return [names[index] for index in sorted(names, key=int)]


def logits(model: nn.Module, ids: Tensor, mask: Tensor | None = None) -> Tensor:
    """What the model gives each class.

    Args:
        ids: tokens, (batch, tokens).
        mask: 1 where there is one, 0 where the batch is filled up; None: there is one everywhere.
    Returns:
        (batch, classes).
    """
    found: Tensor = model(input_ids=ids, attention_mask=mask).logits
    return found


def macs(model: PreTrainedModel, max_tokens: int) -> int:
    """Multiply-accumulates of a text of full length."""
    ids = torch.zeros(1, max_tokens, dtype=torch.long, device=next(model.parameters()).device)
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        logits(model, ids)
    return int(counter.get_total_flops()) // 2


def write_card(
    folder: Path,
    kind: Kind | str,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    classes: Sequence[str],
    max_tokens: int,
    data: str,
    student: str | None = None,
    teachers: Sequence[str] = (),
    source: str | None = None,
) -> dict[str, Any]:
    """Describe the checkpoint that `folders.save` wrote into `folder` in card.json, and return what was written.

    Args:
        kind: teacher, distilled, control or pruned.
        classes: names, in index order.
        max_tokens: of a text.
        data: digest of the split it was trained on.
        student: its name, if it is one.
        teachers: sha256 of those it learned from, if any.
        source: where its first weights came from; None: initialised at random.
    """
    config = model.config
    card = {
        "task": "text_classify",
        "kind": kind,
        "student": student,
        **folders.described(folder, model, tokenizer),
        "macs": macs(model, max_tokens),
        "max_tokens": max_tokens,
        "network": {
            "architecture": type(model).__name__,
            "layers": config.num_hidden_layers,
            "hidden": config.hidden_size,
            "heads": config.num_attention_heads,
            "ffn": getattr(config, "intermediate_size", None),
        },
        "classes": list(classes),
        "data": data,
        "teachers": list(teachers),
        "source": source,
    }
    write_json(folder / CARD, card)
    return card


def _labels(classes: Sequence[str]) -> dict[str, Any]:
    return {"id2label": dict(enumerate(classes)), "label2id": {name: index for index, name in enumerate(classes)}}
