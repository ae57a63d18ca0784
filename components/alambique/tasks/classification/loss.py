"""The divergence from a teacher of whom only the likeliest classes are kept."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def tempered_kl(logits: Tensor, kept: Tensor, classes: Tensor, rest: Tensor, temperature: float) -> Tensor:
    """T² · KL(teacher ‖ student) at temperature T, mean over the batch (Hinton, Vinyals & Dean 2015, §2).

    What the teacher gave to the classes that were not kept is spread evenly over them, as in Shen & Xing 2022 (FKD,
    §3.3). With all classes kept the divergence is exact. Otherwise it is that from a flatter teacher, which at T > 1
    also gives them somewhat more than it did: of all ways to part their mass, the even one is the largest when
    tempered.

    Args:
        logits: the student's, (batch, classes).
        kept: the teacher's log-probabilities at temperature 1 of the likeliest classes, (batch, k).
        classes: which these are, (batch, k).
        rest: the logarithm of all other classes' probability together, (batch,).
        temperature: T.
    Returns:
        scalar.
    """
    teacher = dense(kept, classes, rest, logits.shape[1]) / temperature
    target = teacher.log_softmax(1)
    student = (logits.float() / temperature).log_softmax(1)
    return temperature**2 * (target.exp() * (target - student)).sum(1).mean()


def dense(kept: Tensor, classes: Tensor, rest: Tensor, count: int) -> Tensor:
    """The teacher's log-probabilities of all classes, the rest spread evenly, (batch, count)."""
    others = count - kept.shape[1]
    even = rest - math.log(others) if others else rest
    return even[:, None].expand(-1, count).to(torch.float32).scatter(1, classes, kept.to(torch.float32))
