"""How far a student is from its teacher: each distance one function of plain tensors."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

KD_LOSS = "kd_loss"
"""Name of the divergence from the teacher's cached words among a training's losses."""

DISTILLATION_LOSSES = (KD_LOSS, "dis_loss")
"""That, and what Ultralytics calls the distance between the features."""


def tempered_kl(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """KL(teacher ‖ student) at `temperature`, times temperature² (Hinton, Vinyals & Dean 2015, §2).

    The square keeps the size of the gradients when the temperature changes.

    Args:
        student: logits, (boxes, classes).
        teacher: logits, (boxes, classes); −inf gives a class no mass.
        temperature: softens both distributions; > 0.
    Returns:
        scalar, nats, mean over the boxes; 0 without boxes.
    """
    if not len(student):
        return student.sum()  # zero, and still part of the graph
    log_student = functional.log_softmax(student.float() / temperature, dim=1)
    target = functional.softmax(teacher.float() / temperature, dim=1)
    return functional.kl_div(log_student, target, reduction="batchmean") * temperature**2


def tempered_binary_kl(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """The same where classes do not exclude each other, as under YOLO's sigmoids: one coin for every class.

    Args:
        student: logits, (boxes, classes).
        teacher: logits, (boxes, classes); −inf is certain of no.
        temperature: softens both; > 0.
    Returns:
        scalar, nats, sum over the classes and mean over the boxes; 0 without boxes.
    """
    if not len(student):
        return student.sum()
    target = (teacher.float() / temperature).sigmoid()
    crossed = functional.binary_cross_entropy_with_logits(student.float() / temperature, target, reduction="none")
    entropy = -(torch.xlogy(target, target) + torch.xlogy(1 - target, 1 - target))
    return (crossed - entropy).sum() / len(student) * temperature**2


def strength(progress: float, anneal: float) -> float:
    """What is left of the teacher's weight: 1, then falling in a line to 0 over the last share `anneal` of a training.

    Args:
        progress: 0 at the start of the training, 1 at its end.
        anneal: 0 (the teacher stays) to 1 (it fades from the start).
    """
    return 1.0 if progress <= 1 - anneal else (1 - progress) / anneal
