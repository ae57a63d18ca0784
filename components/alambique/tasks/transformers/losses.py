"""What a student loses against the text itself, and against a teacher of whom only the likeliest tokens are kept.

The teacher's other tokens are one more event, whose probability is kept exactly. Merging events can only lower these
divergences (data processing inequality), so each is a lower bound of that over the whole vocabulary, and is exact where
all tokens are kept. What it misses is the rest's probability times the divergence inside of the rest: nothing tells the
student how to part what it gives to the rest, but how much it may give.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, log_softmax

EMPTY = -6e4
"""The rest's log-probability where nothing is left; finite in half precision, and 0 as a probability."""


def next_token(logits: Tensor, ids: Tensor, learned: Tensor) -> Tensor:
    """Cross-entropy of the tokens that are learned, from those before each.

    Args:
        logits: (batch, tokens, vocabulary).
        ids, learned: (batch, tokens).
    Returns:
        scalar, nats, mean over the learned tokens.
    """
    kept = learned[:, 1:]
    return cross_entropy(logits[:, :-1][kept], ids[:, 1:][kept])


def teacher_events(kept: Tensor, rest: Tensor, temperature: float) -> Tensor:
    """The teacher's log-probabilities of the kept tokens and, last, of all the others together.

    Args:
        kept: log-probabilities at temperature 1, (n, k).
        rest: log-sum-exp of the others' log-probabilities over `temperature`, (n,).
        temperature: softens the distribution; > 0.
    Returns:
        (n, k + 1), normalised.
    """
    return log_softmax(torch.cat((kept.float() / temperature, rest.float()[:, None]), -1), -1)


def student_events(logits: Tensor, tokens: Tensor, temperature: float) -> Tensor:
    """The student's log-probabilities of the same events.

    Args:
        logits: (n, vocabulary).
        tokens: those that are kept, (n, k).
        temperature: softens the distribution; > 0.
    Returns:
        (n, k + 1), normalised.
    """
    scaled = logits.float() / temperature
    total = scaled.logsumexp(-1, keepdim=True)
    kept = scaled.gather(-1, tokens)
    # Of what is left, not of 1 minus what is kept: that would round to nothing where the student is sure.
    rest = scaled.scatter(-1, tokens, -torch.inf).logsumexp(-1, keepdim=True).clamp(min=EMPTY)
    return torch.cat((kept, rest), -1) - total


def divergence(teacher: Tensor, student: Tensor, kind: str, beta: float = 0.5) -> Tensor:
    """How far the student is from the teacher.

    Args:
        teacher, student: log-probabilities of the same events, (n, events).
        kind: forward, KL(teacher ‖ student); reverse, KL(student ‖ teacher); or jsd, the generalised Jensen–Shannon
            divergence β KL(teacher ‖ m) + (1 − β) KL(student ‖ m) with m = β teacher + (1 − β) student (Agarwal et al.
            2024, On-policy distillation of language models, eq. 2).
        beta: of jsd, between 0 and 1.
    Returns:
        scalar, nats, mean over the n.
    """
    match kind:
        case "forward":
            return _kl(teacher, student)
        case "reverse":
            return _kl(student, teacher)
        case "jsd":
            weights = torch.tensor([beta, 1 - beta], device=teacher.device).log()
            mixed = torch.stack((teacher + weights[0], student + weights[1])).logsumexp(0)
            return beta * _kl(teacher, mixed) + (1 - beta) * _kl(student, mixed)
    raise ValueError(kind)


def _kl(first: Tensor, second: Tensor) -> Tensor:
    return (first.exp() * (first - second)).sum(-1).mean()
