"""The distillation loss of a detector: Ultralytics' own loss of a branch, and a KL divergence from the teachers.

The temperature T softens both distributions at each assigned anchor, over all classes (images and texts that are
classified keep the k likeliest: `softlabels.topk`), and the divergence is scaled by T².

`E2ELoss` makes one for each branch, one-to-many and one-to-one. A network with one head (YOLO11, YOLOv8) has one loss,
as that head is a one-to-many branch alone.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils.loss import v8DetectionLoss
from ultralytics.utils.tal import TaskAlignedAssigner

KD_LOSS = "kd_loss"
"""Name of the divergence from the teacher's cached logits among a training's losses."""

DISTILLATION_LOSSES = (KD_LOSS, "dis_loss")
"""That, and what Ultralytics calls the distance between the features."""

TEACHER = "teacher_logits"
"""The batch's key for the teacher's class logits, (boxes, classes), NaN where a box has no teacher."""

WEIGHT = "weight"
"""The batch's key for how much a box counts, (boxes, 1): the probability that there is one."""

PROGRESS = "progress"
"""The batch's key for how much of the training is done, 0 to 1."""


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
    """The same where classes do not exclude each other, as under YOLO's sigmoids: a Bernoulli for every class.

    Args:
        student: logits, (boxes, classes).
        teacher: logits, (boxes, classes); −inf: a probability of 0.
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


def anneal_factor(progress: float, anneal: float) -> float:
    """Factor of the divergence's weight: 1, then falling in a line to 0 over the last fraction `anneal` of a training.

    Args:
        progress: 0 at the start of the training, 1 at its end.
        anneal: 0 (constant) to 1 (it falls from the start).
    """
    return 1.0 if progress <= 1 - anneal else (1 - progress) / anneal


class WeightedAssigner(TaskAlignedAssigner):  # type: ignore[misc]
    """Upstream's, whose targets are scaled by the probability that a box is there.

    A target of one half at the right place is the expectation of a label that half of the people would draw.
    """

    def forward(self, *arguments: Tensor, weights: Tensor) -> tuple[Tensor, ...]:
        """Assign as upstream does, then scale the target scores.

        Args:
            arguments: upstream's.
            weights: of the boxes, (images, most boxes in an image).
        """
        labels, boxes, scores, foreground, owner = super().forward(*arguments)
        if weights.shape[1]:
            scores = scores * weights.gather(1, owner.long())[..., None]
        return labels, boxes, scores, foreground, owner


class DistillationLoss(v8DetectionLoss):  # type: ignore[misc]
    """Upstream's loss of a branch, and a divergence from the teacher beside it.

    The teacher's boxes are targets, each by its weight. The divergence is that of the class logits, at the anchors
    which the assigner gave to a box that has teacher logits.
    """

    def __init__(
        self,
        model: DetectionModel,
        temperature: float,
        weight: float,
        anneal: float = 0.0,
        tal_topk: int = 10,
        tal_topk2: int | None = None,
    ) -> None:
        super().__init__(model, tal_topk, tal_topk2)
        self.temperature, self.weight, self.anneal = temperature, weight, anneal
        settings = ("topk", "topk2", "num_classes", "alpha", "beta", "stride")
        upstream: TaskAlignedAssigner = self.assigner  # type: ignore[has-type]
        self.assigner = WeightedAssigner(**{name: getattr(upstream, name) for name in settings})

    def loss(self, preds: dict[str, Tensor], batch: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        """The batch's loss, and what it consists of.

        Returns:
            box, class, distance and, by its weight, divergence, times the batch size as upstream, (4,); and its
            detached items by name, the divergence without that weight: it is zero only where no box has a teacher.
        """
        size = len(preds["scores"])
        teacher, weights = self._padded_teacher_targets(batch, size)
        (foreground, owner, *_), losses, items = self.get_assigned_targets_and_loss(preds, batch, weights=weights)
        image, anchor = foreground.nonzero(as_tuple=True)
        logits = teacher[image, owner[image, anchor].long()]
        has_teacher = ~logits.isnan().any(1)
        student = preds["scores"].permute(0, 2, 1)[image, anchor]
        # A box is of one class, so classes are told apart; a lone class is told from its absence.
        distance = tempered_kl if logits.shape[1] > 1 else tempered_binary_kl
        divergence = distance(student[has_teacher], logits[has_teacher], self.temperature)
        weight = self.weight * anneal_factor(batch[PROGRESS], self.anneal)
        total: Tensor = torch.cat((losses, weight * divergence[None])) * len(batch["img"])
        return total, {**items, KD_LOSS: divergence.detach()}

    def _padded_teacher_targets(self, batch: dict[str, Any], size: int) -> tuple[Tensor, Tensor]:
        """The teacher's logits and weights of the boxes, in the assigner's order of them.

        Returns:
            the teacher's logits, (images, most boxes in an image, classes), and the weights, without the last axis.
        """
        index = batch["batch_idx"].view(-1, 1)
        columns = (index, batch["cls"].view(-1, 1), batch["bboxes"], batch[WEIGHT], batch[TEACHER])
        # Upstream's own padding: columns 0 to 4 become class and box, what stands behind them is carried along.
        padded = self.preprocess(
            torch.cat(columns, 1).to(self.device), size, scale_tensor=torch.ones(4, device=self.device)
        )
        return padded[..., 6:], padded[..., 5]
