"""The detection loss of Ultralytics, plus the divergence from the teacher where a box carries its logits."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils.loss import v8DetectionLoss

TEACHER = "teacher_logits"
"""The batch's key for the teacher's class logits, (boxes, classes), NaN where a box has no teacher."""

KD_LOSS = "kd_loss"


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


class SoftLabelLoss(v8DetectionLoss):  # type: ignore[misc]
    """One branch's loss: box, class and distance as upstream, then `weight` × the divergence from the teacher.

    The divergence is taken at the anchors which the assigner gave to a box that has teacher logits. `E2ELoss` makes
    one of these for each branch, one-to-many and one-to-one.
    """

    def __init__(
        self, model: DetectionModel, temperature: float, weight: float, tal_topk: int = 10, tal_topk2: int | None = None
    ) -> None:
        super().__init__(model, tal_topk, tal_topk2)
        self.temperature = temperature
        self.weight = weight

    def loss(self, preds: dict[str, Tensor], batch: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        """The batch's loss by component, (4,), times the batch size as upstream; and its detached items by name.

        The divergence's item is without its weight: it is zero only where no box has a teacher.
        """
        (foreground, assigned, *_), losses, items = self.get_assigned_targets_and_loss(preds, batch)
        size = len(preds["scores"])
        teacher = self._teacher_of_each_box(batch, size)
        image, anchor = foreground.nonzero(as_tuple=True)
        logits = teacher[image, assigned[image, anchor].long()]
        taught = ~logits.isnan().any(1)
        student = preds["scores"].permute(0, 2, 1)[image, anchor]
        divergence = tempered_kl(_choices(student[taught]), _choices(logits[taught]), self.temperature)
        total: Tensor = torch.cat((losses, self.weight * divergence[None])) * size
        return total, {**items, KD_LOSS: divergence.detach()}

    def _teacher_of_each_box(self, batch: dict[str, Any], size: int) -> Tensor:
        """Teacher logits in the assigner's order of boxes, (images, most boxes in an image, classes)."""
        index = batch["batch_idx"].view(-1, 1)
        rows = torch.cat((index, batch["cls"].view(-1, 1), batch["bboxes"], batch[TEACHER]), 1).to(self.device)
        # Upstream's own padding: columns 0 to 4 become class and box, what stands behind them is carried along.
        padded: Tensor = self.preprocess(rows, size, scale_tensor=torch.ones(4, device=self.device))
        return padded[..., 5:]


def _choices(logits: Tensor) -> Tensor:
    """A lone class has no distribution: it is weighed against its absence, whose logit is 0, as its sigmoid does."""
    return functional.pad(logits, (0, 1)) if logits.shape[1] == 1 else logits
