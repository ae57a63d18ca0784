"""How far a network's predictions are from its teacher's, by the top-k that both evaluations kept of each token."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from alambique.evaluation.measures import Metrics
from alambique.softlabels.topk import TopK, pairwise_kl
from alambique.tasks.transformers import results
from alambique.tasks.transformers.results import TokenPredictions


def divergence(target: Path, teacher: Path) -> Metrics:
    """kl, nats a token (see `topk.pairwise_kl`), and agreement: share of tokens with the same likeliest token.

    Returns:
        nothing where the two have different tokens.
    Raises:
        DataError: the evaluations are not of the same texts.
        IntegrityError: an evaluation was written by another version.
    """
    evaluation, reference = results.read(target), results.read(teacher)
    results.require_same_texts({teacher: reference, target: evaluation})
    student, expected = (
        results.join([text.tokens for text in predictions.texts.values()]) for predictions in (evaluation, reference)
    )
    if evaluation.tokenizer != reference.tokenizer or not np.array_equal(student.truth, expected.truth):
        return {}
    kl = pairwise_kl(_topk(expected), _topk(student), evaluation.vocabulary)
    agree = float((student.tokens[:, 0] == expected.tokens[:, 0]).mean())
    return {"kl": max(float(kl.mean()), 0.0), "agreement": agree}


def _topk(tokens: TokenPredictions) -> TopK:
    return TopK(
        torch.from_numpy(tokens.log_probabilities),
        torch.from_numpy(tokens.tokens.astype(np.int64)),
        torch.from_numpy(tokens.log_remaining_mass),
    )
