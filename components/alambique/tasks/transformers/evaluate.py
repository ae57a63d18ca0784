"""Predict texts with a causal language model, token by token, and measure the predictions."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from transformers import PreTrainedTokenizerFast

from alambique.errors import DataError
from alambique.evaluation.measures import Metrics
from alambique.files import read_json
from alambique.layout import CARD
from alambique.runtimes.base import Array, Program, Validation
from alambique.tasks.base import Measurement
from alambique.tasks.training_loop import Measure
from alambique.tasks.transformers import results, sequences, text_metrics, tokenizers
from alambique.tasks.transformers.checkpoint import MODEL, load_tokenizer
from alambique.tasks.transformers.dataset import Text, Texts
from alambique.tasks.transformers.models import token_logits
from alambique.tasks.transformers.results import Predictions, TextPredictions, TokenPredictions
from alambique.tasks.transformers.sequences import EncodedText, TokenSequence
from alambique.tasks.transformers.text_metrics import TextFigures

PARITY = 16
"""Test sequences on which a candidate is compared with its checkpoint."""


def empty_past(card: Any) -> tuple[Array, Array]:
    """Keys and values before the first token, for the network of a checkpoint's or candidate's card."""
    if "input" in card:
        layers, heads, _, width = card["input"]["past_keys"]["shape"]
    else:
        layers, heads, width = (card["network"][name] for name in ("layers", "kv_heads", "head_width"))
    empty = np.zeros((layers, heads, 0, width), np.float32)
    return empty, empty


def measure(folder: Path, program: Program, dataset: Texts, split: str, top_k: int) -> Measurement:
    """Predict a split with a checkpoint or candidate in its own tokens; `top_k` are kept of each prediction."""
    card = read_json(folder / CARD)
    texts = {text.name: predict_tokens(program, card, text, top_k) for text in encoded(folder, dataset, split)}
    figures = [text.figures for text in texts.values()]
    evaluation = Predictions(texts, card["vocabulary"], tokenizers.digest(load_tokenizer(folder)))

    def write(target: Path) -> None:
        results.write(target, evaluation)
        if card.get("kind") == "teacher":  # for the report, which shows tokens as text and has no model at hand
            shutil.copyfile(folder / MODEL / tokenizers.FILE, target / tokenizers.FILE)

    tokens = sum(text.tokens for text in figures)
    return Measurement({"images": len(texts), "tokens": tokens, **text_metrics.summarize(figures)}, write)


def validation(folder: Path, dataset: Texts) -> Validation:
    """Measures the word accuracy of programs made of a checkpoint on val."""
    card = read_json(folder / CARD)

    def accuracy(figures: Sequence[TextFigures]) -> float:
        return text_metrics.summarize(figures)["accuracy"]

    def score(program: Program, samples: Iterable[EncodedText]) -> tuple[float, list[float]]:
        figures = [predict_tokens(program, card, text, 1).figures for text in samples]
        return accuracy(figures), [accuracy([text]) for text in figures]

    return Validation(encoded(folder, dataset, "val"), score)


def parity(folder: Path, artifact: Program, checkpoint: Program, dataset: Texts) -> Metrics:
    """How far an artifact's token probabilities are from its checkpoint's on the first test sequences."""
    card = read_json(folder / CARD)
    texts = sequences.encode(dataset.texts("test"), load_tokenizer(folder), card["max_tokens"])[:PARITY]
    past = empty_past(card)
    difference, same, tokens = 0.0, 0, 0
    for text in texts:
        first, second = (
            torch.from_numpy(program(text.ids[None], *past)[0][0]).softmax(-1) for program in (artifact, checkpoint)
        )
        difference = max(difference, float((first - second).abs().max()))
        same += int((first.argmax(-1) == second.argmax(-1)).sum())
        tokens += len(text.ids)
    return {
        "samples": len(texts),
        "max_score_difference": difference,
        "max_output_difference": None,
        "agreement": same / tokens,
    }


def encoded(folder: Path, dataset: Texts, split: str) -> list[EncodedText]:
    """A split in the tokens of a checkpoint or candidate; DataError if there is nothing to predict."""
    texts = list(sequences.encode_whole(dataset.texts(split), load_tokenizer(folder)))
    if not any(text.loss_mask.any() for text in texts):
        raise DataError(f"{dataset.root} has no {split} texts of two tokens; networks are measured on them: add some")
    return texts


def measure_in_training(texts: Sequence[Text], tokenizer: PreTrainedTokenizerFast, max_tokens: int) -> Measure:
    """Measures a network in training on some texts: token accuracy first; see `text_metrics.summarize`."""
    whole = list(sequences.encode_whole(texts, tokenizer))
    parts = {text.name: list(sequences.windows(text, max_tokens)) for text in whole}
    windows = sequences.require_some([window for part in parts.values() for window in part], "val")
    vocabulary = len(tokenizer)

    @torch.inference_mode()
    def measure(model: nn.Module) -> dict[str, float]:
        device = next(model.parameters()).device
        nats: dict[str, NDArray[np.float32]] = {}
        correct: dict[str, NDArray[np.bool_]] = {}
        for part in sequences.bucket_by_length(windows, vocabulary):
            batch = sequences.collate(part)
            ids, mask = batch["ids"].to(device), batch["loss_mask"][:, 1:]
            logits = token_logits(model, ids, vocabulary)[:, :-1][mask.to(device)].float()
            truth = ids[:, 1:][mask.to(device)]
            costs = nn.functional.cross_entropy(logits, truth, reduction="none").cpu().numpy()
            right = (logits.argmax(-1) == truth).cpu().numpy()
            ends = mask.sum(1).cumsum(0).numpy()[:-1]
            for window, one, other in zip(part, np.split(costs, ends), np.split(right, ends), strict=True):
                nats[window.name], correct[window.name] = one, other
        metrics = text_metrics.summarize(
            text_metrics.count(
                text, _joined(correct, parts[text.name], np.bool_), _joined(nats, parts[text.name], np.float32)
            )
            for text in whole
        )
        # First what decides when training stops: with one tokenizer, finer than words.
        return {"token_accuracy": metrics.pop("token_accuracy"), **metrics}

    return measure


def predict_tokens(program: Program, card: Any, text: EncodedText, top_k: int) -> TextPredictions:
    """Predict a text, window by window, with the checkpoint or candidate of this card; see `measure`."""
    past = empty_past(card)

    def of_window(ids: NDArray[np.int64], loss_mask: NDArray[np.bool_]) -> TokenPredictions:
        places = np.flatnonzero(loss_mask)
        return results.predictions(program(ids[None], *past)[0][0][places - 1], ids[places], top_k)

    nothing = results.predictions(np.zeros((0, card["vocabulary"]), np.float32), np.zeros(0, np.int64), top_k)
    windows = sequences.windows(text, card["max_tokens"])
    tokens = results.join([nothing, *(of_window(window.ids, window.loss_mask) for window in windows)])
    return TextPredictions(text_metrics.count(text, tokens.correct, tokens.nats), tokens)


def _joined(values: Mapping[str, NDArray[Any]], windows: Sequence[TokenSequence], kind: type) -> NDArray[Any]:
    return np.concatenate([np.zeros(0, kind), *(values[window.name] for window in windows)])
