"""The Hugging Face folder in a checkpoint of any network that reads texts: written, checked, described."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from alambique.errors import ConfigurationError, DataError
from alambique.files import folder_sha256, sha256
from alambique.tasks.text import tokenizer as tokenizers

MODEL = Path("model")
"""The Hugging Face folder inside a checkpoint's."""
CONFIG = "config.json"


def require_fit(model: PreTrainedModel, folder: Path, tokenizer: PreTrainedTokenizerFast, max_tokens: int) -> None:
    """Refuse a model that its tokenizer, or the texts, are too large for.

    Args:
        folder: where it came from.
    Raises:
        DataError: it knows fewer tokens than the tokenizer.
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


def save(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write model and tokenizer into a checkpoint's folder."""
    model.save_pretrained(folder / MODEL)
    tokenizers.save(tokenizer, folder / MODEL)


def parameters(model: nn.Module) -> int:
    """How many numbers the model learns; tied weights count once."""
    return sum(parameter.numel() for parameter in model.parameters())


def described(folder: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    """What a card says of the files that `save` wrote into the checkpoint's `folder`."""
    files = sorted(path for path in (folder / MODEL).rglob("*") if path.is_file())
    return {
        "sha256": folder_sha256(folder / MODEL),
        "files": {path.relative_to(folder).as_posix(): sha256(path) for path in files},
        "parameters": parameters(model),
        "size_bytes": sum(path.stat().st_size for path in files),
        "vocabulary": len(tokenizer),
        "tokenizer": tokenizers.digest(tokenizer),
    }


def figures(card: dict[str, Any]) -> dict[str, int]:
    """What a stage's metrics repeat of the card."""
    return {name: card[name] for name in ("parameters", "macs", "size_bytes")}
