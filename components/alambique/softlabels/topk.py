"""A distribution over classes or tokens, kept as its k largest log-probabilities and the mass of all others.

One definition for `classify`, `text_classify` and `text` (detectors: `tasks.yolo.distillation_loss`): **all classes
that were not kept are one aggregated event**. A teacher and a student are compared over k + 1 events: the k classes
that the teacher's top-k names, and "any other class".

Bias. Merging events never raises a divergence (data processing inequality; Cover & Thomas 2006, Elements of
Information Theory, §2.8), so what is computed here is a lower bound of the divergence over all classes. It misses the
remaining mass times the divergence *inside* of the remainder: the student is given how much mass the other classes get
together, not how to split it. With k = all classes it is exact.

Temperature. A softened distribution needs Σ p_i^(1/T) over the remainder, which its mass at T = 1 does not determine.

- `keep(…, temperature=T)` sums the remainder at T: exact, but the soft labels serve this one T only (text).
- A mass kept at T = 1 serves every T (images, classification of texts): `temper_mass` then assumes that the remainder
  is spread evenly. That is exact at T = 1, and for T > 1 the largest value it can have (Jensen), so that the teacher's
  remainder is overestimated and the lower bound need not hold.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

LOG_PROB_FLOOR = -6e4
"""Stands for the logarithm of 0: finite in half precision, and exactly 0 as a probability."""
CHUNK = 4096
"""Distributions that `pairwise_kl` compares at once: it needs memory for CHUNK · k² booleans."""


class TopK(NamedTuple):
    """n distributions, each reduced to its k likeliest classes.

    Attributes:
        values: log-probabilities at temperature 1 of the likeliest classes, descending, (n, k).
        indices: which classes these are, (n, k).
        log_remaining_mass: logarithm of the other classes' probabilities (or those raised to 1/T) summed up, (n,).
    """

    values: Tensor
    indices: Tensor
    log_remaining_mass: Tensor


def keep(log_probabilities: Tensor, k: int, temperature: float = 1.0) -> TopK:
    """The k likeliest classes of each distribution, and the mass of all others.

    Args:
        log_probabilities: normalised, nats, (n, classes).
        k: classes to keep; all of them if there are fewer.
        temperature: at which the others are summed up, > 0; the values are kept at temperature 1 in any case.
    Returns:
        nothing below `LOG_PROB_FLOOR`; NaN where the input is NaN.
    """
    top = log_probabilities.topk(min(k, log_probabilities.shape[-1]), -1)
    others = (log_probabilities / temperature).scatter(-1, top.indices, -torch.inf).logsumexp(-1)
    return TopK(top.values.clamp(min=LOG_PROB_FLOOR), top.indices, others.clamp(min=LOG_PROB_FLOOR))


def densify(topk: TopK, classes: int) -> Tensor:
    """Log-probabilities of all classes, (n, classes); the remaining mass at temperature 1 is spread over the others."""
    others = max(classes - topk.values.shape[-1], 1)  # without others nothing is left of the filling
    even = topk.log_remaining_mass.float() - math.log(others)
    return even[:, None].repeat(1, classes).scatter(1, topk.indices, topk.values.float())


def temper_mass(log_remaining_mass: Tensor, others: int, temperature: float) -> Tensor:
    """The remaining mass at a temperature T, log Σ p_i^(1/T), from log Σ p_i, (n,), of which others have even shares.

    Returns:
        (n,); `LOG_PROB_FLOOR` where nothing is left to share.
    """
    if not others:
        return torch.full_like(log_remaining_mass, LOG_PROB_FLOOR)
    tempered = log_remaining_mass / temperature + (1 - 1 / temperature) * math.log(others)
    return tempered.where(log_remaining_mass > LOG_PROB_FLOOR, LOG_PROB_FLOOR)


def teacher_events(values: Tensor, log_remaining_mass: Tensor, temperature: float) -> Tensor:
    """The teacher's log-probabilities, at a temperature, of the kept classes and, last, of all others together.

    Args:
        values: log-probabilities at temperature 1, (n, k).
        log_remaining_mass: at `temperature`: of `keep(…, temperature)` or `temper_mass`, (n,).
        temperature: T > 0.
    Returns:
        float32, normalised, (n, k + 1).
    """
    return torch.cat((values.float() / temperature, log_remaining_mass.float()[:, None]), -1).log_softmax(-1)


def student_events(logits: Tensor, indices: Tensor, temperature: float) -> Tensor:
    """The student's log-probabilities of the same events.

    Args:
        logits: of all classes, (n, classes).
        indices: the classes that the teacher's top-k names, int64, (n, k).
        temperature: T > 0.
    Returns:
        float32, normalised, (n, k + 1); differentiable.
    """
    scaled = logits.float() / temperature
    kept = scaled.gather(-1, indices)
    # Summed over the others, not as 1 minus the kept: that rounds to 0 where the student is confident.
    others = scaled.scatter(-1, indices, -torch.inf).logsumexp(-1, keepdim=True).clamp(min=LOG_PROB_FLOOR)
    return torch.cat((kept, others), -1) - scaled.logsumexp(-1, keepdim=True)


def kl_divergence(
    student_logits: Tensor, values: Tensor, indices: Tensor, log_remaining_mass: Tensor, temperature: float
) -> Tensor:
    """T² · KL(teacher ‖ student) over k + 1 events at temperature T (Hinton, Vinyals & Dean 2015, §2).

    Args:
        student_logits: (batch, classes).
        values, indices: the teacher's kept log-probabilities at temperature 1 and their classes (int64), (batch, k).
        log_remaining_mass: of the teacher, at temperature 1, (batch,).
        temperature: T > 0.
    Returns:
        scalar, nats, mean over the batch.
    """
    mass = temper_mass(log_remaining_mass.float(), student_logits.shape[-1] - indices.shape[-1], temperature)
    teacher = teacher_events(values, mass, temperature)
    return temperature**2 * kl(teacher, student_events(student_logits, indices, temperature)).mean()


def kl(first: Tensor, second: Tensor) -> Tensor:
    """KL(first ‖ second) of log-probabilities of the same events, (n, events); returns nats, (n,)."""
    return (first.exp() * (first - second)).sum(-1)


def pairwise_kl(teacher: TopK, student: TopK, classes: int) -> Tensor:
    """KL(teacher ‖ student) of each pair of kept distributions, at temperature 1, over the teacher's k + 1 events.

    What the student gives to a class that is among the teacher's top-k but not among its own is unknown: an even part
    of the student's remaining mass stands for it.

    Args:
        teacher, student: n distributions each, with the remaining mass at temperature 1.
    Returns:
        float64, nats, (n,).
    """
    parts = zip(*(torch.split(column, CHUNK) for column in (*teacher, *student)), strict=True)
    return torch.cat([_pairwise_kl(TopK(*columns[:3]), TopK(*columns[3:]), classes) for columns in parts])


def _pairwise_kl(teacher: TopK, student: TopK, classes: int) -> Tensor:
    values, mass = student.values.double(), student.log_remaining_mass.double()
    unknown = mass - math.log(max(classes - values.shape[-1], 1))
    same = teacher.indices[:, :, None] == student.indices[:, None, :]  # (n, teacher's k, student's k)
    known = same.any(-1)
    of_teachers = values[:, None, :].where(same, -torch.inf).amax(-1).where(known, unknown[:, None])
    # The student's remainder, plus what it keeps and the teacher does not, less the even parts that were given away.
    others = mass.exp() + values.exp().masked_fill(same.any(1), 0).sum(-1) - (~known).sum(-1) * unknown.exp()
    others = others.clamp(min=math.exp(-700)).log()
    events = torch.cat((teacher.values.double(), teacher.log_remaining_mass.double()[:, None]), -1)
    return kl(events.log_softmax(-1), torch.cat((of_teachers, others[:, None]), -1).log_softmax(-1))
