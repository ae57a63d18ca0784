"""Measure text classifiers: a program's class probabilities of each text, a network's in training."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from transformers import PreTrainedTokenizerFast

from alambique.evaluation.measures import Metrics
from alambique.files import read_json
from alambique.layout import CARD
from alambique.runtimes.base import Program, Validation
from alambique.tasks.base import Measurement
from alambique.tasks.classifiers import evaluation, parity
from alambique.tasks.training_loop import Measure
from alambique.tasks.transformers import encoding
from alambique.tasks.transformers.checkpoint import load_tokenizer
from alambique.tasks.transformers.class_soft_labels import predict
from alambique.tasks.transformers.dataset import Texts
from alambique.tasks.transformers.encoding import Encoded


def measure(folder: Path, program: Program, dataset: Texts, split: str) -> Measurement:
    """Figures of a checkpoint or candidate on a split; see `alambique.tasks.base.Task.measure`."""
    texts, card = encoded(folder, dataset, split), read_json(folder / CARD)
    return evaluation.measurement(
        [text.name for text in texts],
        np.array([text.label for text in texts]),
        evaluation.match_classes(probabilities(program, texts), card["classes"], dataset.classes, folder),
        dataset.classes,
    )


def compare(folder: Path, artifact: Program, checkpoint: Program, dataset: Texts) -> Metrics:
    """Parity of a candidate and its checkpoint on the first test texts; see `classifiers.parity`.

    Args:
        folder: of the candidate.
    """
    texts = encoded(folder, dataset, "test")[: parity.SAMPLES]
    return parity.parity(*(probabilities(program, texts) for program in (artifact, checkpoint)))


def validation(folder: Path, dataset: Texts) -> Validation:
    """Measures programs made of a checkpoint on val: top-1, and whether each text was right; never if not finite."""

    def score(program: Program, samples: Iterable[Encoded]) -> tuple[float, list[float]]:
        correct = []
        for text in samples:
            logits = program(text.ids[None])[0][0]
            correct.append(float(np.isfinite(logits).all() and logits.argmax() == text.label))
        return float(np.mean(correct)), correct

    return Validation(encoded(folder, dataset, "val"), score)


def measure_in_training(dataset: Texts, tokenizer: PreTrainedTokenizerFast, max_tokens: int) -> Measure:
    """Measures a network in training on val: top1, then nll, the mean negative log-likelihood, nats.

    Raises:
        DataError: val is empty, or one of its texts has no label.
    """
    texts = encoding.encode_labelled(dataset, "val", tokenizer, max_tokens)
    labels = torch.tensor([text.label for text in texts])

    def measure(model: nn.Module) -> dict[str, float]:
        predicted = dict(predict(model, texts, tokenizer.pad_token_id))
        log_probabilities = torch.stack([predicted[text.name] for text in texts])
        return {
            "top1": float((log_probabilities.argmax(1) == labels).double().mean()),
            "nll": float(nn.functional.nll_loss(log_probabilities, labels)),
        }

    return measure


def encoded(folder: Path, dataset: Texts, split: str) -> list[Encoded]:
    """A split in the tokens of a checkpoint or candidate; labels are indices into the dataset's classes.

    Raises:
        DataError: it is empty, or one of its texts has no label.
    """
    return encoding.encode_labelled(dataset, split, load_tokenizer(folder), read_json(folder / CARD)["max_tokens"])


def probabilities(program: Program, texts: Iterable[Encoded]) -> NDArray[np.float64]:
    """A program's class probabilities of each text, (texts, classes); NaN where a logit is not finite."""
    return evaluation.softmax(np.concatenate([program(text.ids[np.newaxis])[0] for text in texts]))
