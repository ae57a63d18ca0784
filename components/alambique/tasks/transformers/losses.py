"""Losses of students: of the texts or labels themselves, and divergences from a teacher's top-k distribution."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from alambique.softlabels.topk import kl
from alambique.tasks.classifiers.soft_labels import UNLABELLED


def next_token(logits: Tensor, ids: Tensor, loss_mask: Tensor) -> Tensor:
    """Cross-entropy of the tokens in the loss mask, given those before each.

    Args:
        logits: (batch, tokens, vocabulary).
        ids, loss_mask: (batch, tokens).
    Returns:
        scalar, nats, mean over these tokens.
    """
    kept = loss_mask[:, 1:]
    return functional.cross_entropy(logits[:, :-1][kept], ids[:, 1:][kept])


def label(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of the labels, (batch,), mean over the labelled samples, 0 where there are none."""
    total = functional.cross_entropy(logits, labels, ignore_index=UNLABELLED, reduction="sum")
    return total / (labels != UNLABELLED).sum().clamp(min=1)


def divergence(teacher: Tensor, student: Tensor, kind: str, beta: float = 0.5) -> Tensor:
    """How far the student's distribution is from the teacher's.

    Args:
        teacher, student: log-probabilities of the same events, see `softlabels.topk`, (n, events).
        kind: forward, KL(teacher ‖ student); reverse, KL(student ‖ teacher); or jsd, the generalised Jensen–Shannon
            divergence β KL(teacher ‖ m) + (1 − β) KL(student ‖ m) with m = β teacher + (1 − β) student (Agarwal et al.
            2024, On-policy distillation of language models, eq. 2).
        beta: of jsd, between 0 and 1.
    Returns:
        scalar, nats, mean over the n.
    """
    match kind:
        case "forward":
            return kl(teacher, student).mean()
        case "reverse":
            return kl(student, teacher).mean()
        case "jsd":
            weights = torch.tensor([beta, 1 - beta], device=teacher.device).log()
            mixed = torch.stack((teacher + weights[0], student + weights[1])).logsumexp(0)
            return beta * kl(teacher, mixed).mean() + (1 - beta) * kl(student, mixed).mean()
    raise ValueError(kind)
