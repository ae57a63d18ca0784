"""A checkpoint of a transformer: a Hugging Face folder, `model/`, beside its card.

`from_pretrained` of the library loads it. Only safetensors are read, and no code that a folder brings.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from safetensors import SafetensorError
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerFast
from transformers.utils import logging as transformers_logging

from alambique.errors import ConfigurationError, DataError
from alambique.files import folder_sha256, sha256
from alambique.tasks.transformers import tokenizers

if TYPE_CHECKING:
    from alambique.config.text import Lora

MODEL = Path("model")
"""The Hugging Face folder inside a checkpoint's."""
CONFIG = "config.json"

transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]


class Network(NamedTuple):
    """A model with its tokenizer.

    Attributes:
        model: without adapters.
        tokenizer: whose tokens it takes.
        lora: adapters that its training shall use; None: all weights are trained.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast
    lora: Lora | None = None


def load_model(folder: Path, auto: Any, kind: str, **options: Any) -> PreTrainedModel:
    """The model in a Hugging Face folder, in FP32 and evaluation mode.

    Args:
        auto: the library's class that knows the architectures, as AutoModelForCausalLM.
        kind: of model, for errors.
        options: further ones of `from_pretrained`.
    Raises:
        DataError: the folder holds no such model in safetensors.
    """
    if not (folder / CONFIG).is_file():
        raise DataError(f"{folder} has no {CONFIG}: give a Hugging Face folder of {kind}")
    try:
        model: PreTrainedModel = auto.from_pretrained(
            folder,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            dtype=torch.float32,
            **options,
        )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise DataError(f"{folder} holds no weights of {kind} in safetensors: {error}") from error
    model.eval()  # type: ignore[no-untyped-call]
    return model


def load_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """The tokenizer of a checkpoint, or of a candidate, which has it beside the artifact; DataError without one."""
    inner = folder / MODEL
    return tokenizers.load(inner if inner.is_dir() else folder)


def require_fit(model: PreTrainedModel, folder: Path, tokenizer: PreTrainedTokenizerFast, max_tokens: int) -> None:
    """Refuse a model, of a folder, that is too small for its tokenizer or for texts of `max_tokens`.

    Raises:
        DataError: it has embeddings for fewer tokens than the tokenizer knows.
        ConfigurationError: it cannot take texts of `max_tokens`.
    """
    if model.config.vocab_size < len(tokenizer):
        raise DataError(
            f"the model in {folder} knows {model.config.vocab_size:,} tokens, and its tokenizer {len(tokenizer):,}: "
            "they do not belong together"
        )
    if (longest := getattr(model.config, "max_position_embeddings", max_tokens)) < max_tokens:
        raise ConfigurationError(
            f"input_size: {max_tokens} tokens are more than the {longest} that the model in {folder} can take; lower it"
        )


def save(network: Network, folder: Path) -> None:
    """Write model and tokenizer into a checkpoint's folder."""
    network.model.save_pretrained(folder / MODEL)
    network.tokenizer.save_pretrained(folder / MODEL)


def describe(folder: Path, network: Network) -> dict[str, Any]:
    """What a card says of the files in the checkpoint's `folder`."""
    files = sorted(path for path in (folder / MODEL).rglob("*") if path.is_file())
    return {
        "sha256": folder_sha256(folder / MODEL),
        "files": {path.relative_to(folder).as_posix(): sha256(path) for path in files},
        "parameters": parameters(network.model),
        "size_bytes": sum(path.stat().st_size for path in files),
        "vocabulary": len(network.tokenizer),
        "tokenizer": tokenizers.digest(network.tokenizer),
    }


def parameters(model: nn.Module) -> int:
    """Number of trainable weights; tied ones count once."""
    return sum(parameter.numel() for parameter in model.parameters())
