"""The loss of a detector's branch while a teacher is heard: Ultralytics' own, and what the teacher adds.

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
from ultralytics.utils.tal import TaskAlignedAssigner, dist2bbox, make_anchors

from alambique.tasks.detect import dense
from alambique.tasks.detect.losses import (
    KD_LOSS,
    box_distance,
    quality_focus,
    strength,
    tempered_binary_kl,
    tempered_kl,
)
from alambique.tasks.detect.views import LABELLED

TEACHER = "teacher_logits"
"""The batch's key for the teacher's class logits, (boxes, classes), NaN where a box has no teacher."""

WEIGHT = "weight"
"""The batch's key for how much a box counts, (boxes, 1): the probability that there is one."""

PROGRESS = "progress"
"""The batch's key for how much of the training is done, 0 to 1."""

Losses = tuple[Tensor, dict[str, Tensor]]
"""The batch's loss by component, times the batch size as upstream; and its detached items by name."""


class WeightedAssigner(TaskAlignedAssigner):  # type: ignore[misc]
    """Upstream's, whose targets are scaled by how sure it is that a box is there.

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


class TaughtLoss(v8DetectionLoss):  # type: ignore[misc]
    """Upstream's loss of a branch, and a divergence from the teacher beside it."""

    def __init__(
        self,
        model: DetectionModel,
        temperature: float,
        weight: float,
        fade: float = 0.0,
        tal_topk: int = 10,
        tal_topk2: int | None = None,
    ) -> None:
        super().__init__(model, tal_topk, tal_topk2)
        self.temperature, self.weight, self.fade = temperature, weight, fade
        self.branch = "one2many" if tal_topk2 is None else "one2one"

    def beside(self, losses: Tensor, items: dict[str, Tensor], divergence: Tensor, batch: dict[str, Any]) -> Losses:
        """Upstream's losses, (3,), and by its weight the divergence: (4,); its item is without that weight.

        So the item is zero only where no teacher was heard.
        """
        heard = self.weight * strength(batch[PROGRESS], self.fade)
        total: Tensor = torch.cat((losses, heard * divergence[None])) * len(batch["img"])
        return total, {**items, KD_LOSS: divergence.detach()}


class BoxesLoss(TaughtLoss):
    """For the boxes cache: the teacher's boxes are targets, each by its weight, and its class logits are matched.

    The divergence is taken at the anchors which the assigner gave to a box that has teacher logits.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        given = ("topk", "topk2", "num_classes", "alpha", "beta", "stride")
        upstream: TaskAlignedAssigner = self.assigner  # type: ignore[has-type]
        self.assigner = WeightedAssigner(**{name: getattr(upstream, name) for name in given})

    def loss(self, preds: dict[str, Tensor], batch: dict[str, Any]) -> Losses:
        """As `Losses`, (4,): box, class, distance, divergence."""
        size = len(preds["scores"])
        teacher, weights = self._riders(batch, size)
        (foreground, owner, *_), losses, items = self.get_assigned_targets_and_loss(preds, batch, weights=weights)
        image, anchor = foreground.nonzero(as_tuple=True)
        logits = teacher[image, owner[image, anchor].long()]
        taught = ~logits.isnan().any(1)
        student = preds["scores"].permute(0, 2, 1)[image, anchor]
        divergence = tempered_kl(_choices(student[taught]), _choices(logits[taught]), self.temperature)
        return self.beside(losses, items, divergence, batch)

    def _riders(self, batch: dict[str, Any], size: int) -> tuple[Tensor, Tensor]:
        """What rides along with the boxes, in the assigner's order of them.

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


class ViewsLoss(TaughtLoss):
    """For the views cache: every anchor is drawn to what the teacher said there; people's labels count where they are.

    An image without labels has the teacher as its only target.
    """

    def loss(self, preds: dict[str, Any], batch: dict[str, Any]) -> Losses:
        """As `Losses`, (4,): box, class, distance of the labelled images; divergence of all of them."""
        losses, items = self._labelled(preds, batch)
        divergence = self._divergence(preds, batch)
        return self.beside(losses, items, divergence, batch)

    def _labelled(self, preds: dict[str, Any], batch: dict[str, Any]) -> Losses:
        """Upstream's losses of the images that have labels, by their share of the batch."""
        labelled = batch[LABELLED].to(self.device)
        places = labelled.nonzero().squeeze(1)
        if not len(places):
            nothing = preds["scores"].sum() * 0 + preds["boxes"].sum() * 0
            return nothing.expand(3), {name: nothing.detach() for name in self.loss_names}
        boxes = labelled[batch["batch_idx"].long()]
        renumbered = labelled.cumsum(0) - 1
        part = {
            "batch_idx": renumbered[batch["batch_idx"].long()][boxes].to(batch["batch_idx"].dtype),
            **{name: batch[name][boxes] for name in ("cls", "bboxes")},
        }
        seen = {name: preds[name][places] for name in ("boxes", "scores")}
        seen["feats"] = [level[places] for level in preds["feats"]]
        _, losses, items = self.get_assigned_targets_and_loss(seen, part)
        return losses * len(places) / len(labelled), items

    def _divergence(self, preds: dict[str, Any], batch: dict[str, Any]) -> Tensor:
        """Of classes and boxes, weighted as upstream weighs its own, for each object that the teacher sees."""
        student = preds["scores"].permute(0, 2, 1).float()
        said = dense.scatter(batch, self.branch, student.shape[1])
        score = said.logits.amax(-1).sigmoid()
        focus = quality_focus(student, said.logits)
        classes = (focus * tempered_binary_kl(student, said.logits, self.temperature)).sum()
        anchors, _ = make_anchors(preds["feats"], self.stride, 0.5)
        own, told = self.bbox_decode(anchors, preds["boxes"].mT), dist2bbox(said.boxes, anchors, xywh=False)
        boxes = box_distance(own[said.kept], told[said.kept], score[said.kept])
        divergence: Tensor = (self.hyp.cls * classes + self.hyp.box * boxes) / score.sum().clamp(min=1)
        return divergence


def _choices(logits: Tensor) -> Tensor:
    """A lone class has no distribution: it is weighed against its absence, whose logit is 0, as its sigmoid does."""
    return functional.pad(logits, (0, 1)) if logits.shape[1] == 1 else logits
