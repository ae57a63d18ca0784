"""How several teachers' boxes of an image are fused.

`average` is weighted boxes fusion (Solovyev, Wang & Gabruseva 2021, "Weighted boxes fusion: Ensembling boxes from
different object detection models", §3), with two differences, for NMS-free teachers and for distillation:

- A cluster takes at most one box of each teacher. The one-to-one head is trained to fire once per object, so two boxes
  of one teacher are two objects, however much they overlap.
- Boxes of different classes may join. Each carries the logits of all classes, and where teachers disagree about an
  object the student should be given one divided distribution, not two certain ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import torch
from torch import Tensor
from ultralytics.utils.metrics import box_iou

SAME_OBJECT = 0.55
"""IoU from which boxes of two teachers are about the same object (Solovyev et al. 2021, §4)."""

CERTAIN = 1e-12
"""Averaged probabilities stay this far from 0 and 1, so that their logits are finite."""


@dataclass(frozen=True)
class TeacherBoxes:
    """One teacher's boxes of an image.

    Attributes:
        boxes: x1, y1, x2, y2 as shares of the image's width and height, (n, 4).
        logits: of every class, (n, classes).
    """

    boxes: Tensor
    logits: Tensor

    @cached_property
    def scores(self) -> Tensor:
        """Probability of each box's likeliest class, (n,)."""
        return self.logits.amax(1).sigmoid()

    @cached_property
    def classes(self) -> Tensor:
        """Index of each box's likeliest class, (n,)."""
        return self.logits.argmax(1)

    def take(self, which: Tensor) -> Self:
        """The boxes at these indices, or where this mask is true."""
        return type(self)(self.boxes[which], self.logits[which])


def fuse(teachers: Sequence[TeacherBoxes], experts: Sequence[int] | None) -> TeacherBoxes:
    """Fuse several teachers' boxes: by class if there are `experts`, averaged otherwise."""
    return average(teachers) if experts is None else best_per_class(teachers, experts)


def average(teachers: Sequence[TeacherBoxes]) -> TeacherBoxes:
    """Fuse the boxes that are about the same object.

    Returns:
        for each object the mean of its boxes, weighted by their scores, and the logits of the mean over all teachers of
        each class's probability: a teacher that has no box there gives 0.
    """
    every, owners = _joined(teachers)
    clusters = _clusters(every, owners, len(teachers))
    if not clusters:
        return every
    boxes = torch.stack([_mean_box(every, members) for members in clusters])
    sums = torch.stack([every.logits[members].double().sigmoid().sum(0) for members in clusters])
    return TeacherBoxes(boxes, (sums / len(teachers)).logit(CERTAIN).to(every.logits.dtype))


def best_per_class(teachers: Sequence[TeacherBoxes], experts: Sequence[int]) -> TeacherBoxes:
    """Of each class, the boxes of the teacher that is the most accurate on it.

    Args:
        teachers: the boxes of each; a box is of its likeliest class.
        experts: the teacher for each class, as `choose_experts` gives them.
    """
    chosen = torch.tensor(experts)
    kept = [boxes.take(chosen[boxes.classes] == number) for number, boxes in enumerate(teachers)]
    return _joined(kept)[0]


def choose_experts(cards: Sequence[Mapping[str, Any]], classes: Sequence[str]) -> list[int]:
    """For each class, the teacher with the best average precision on val, by its card; of equals, the first."""
    # A class without a box in val has no average precision, whoever is asked.
    return [max(range(len(cards)), key=lambda number: cards[number]["val_ap"][name] or 0.0) for name in classes]


def _joined(teachers: Sequence[TeacherBoxes]) -> tuple[TeacherBoxes, Tensor]:
    """All boxes, and which teacher each is of."""
    counts = torch.tensor([len(one.boxes) for one in teachers])
    every = TeacherBoxes(torch.cat([one.boxes for one in teachers]), torch.cat([one.logits for one in teachers]))
    return every, torch.arange(len(teachers)).repeat_interleave(counts)


def _clusters(every: TeacherBoxes, owners: Tensor, teachers: int) -> list[list[int]]:
    """Boxes about the same object, each cluster by falling score; at most one a teacher (`owners`: whose each is)."""
    clusters: list[list[int]] = []
    means, classes = torch.empty_like(every.boxes), torch.empty_like(every.classes)  # of each cluster
    taken = torch.zeros(len(owners), teachers, dtype=torch.bool)  # whether a cluster has a box of a teacher
    for new in every.scores.argsort(descending=True, stable=True).tolist():
        known = slice(len(clusters))
        free, same = ~taken[known, owners[new]], classes[known] == every.classes[new]
        place = _closest(every.boxes[new], means[known], free, same)
        if place is None:
            place = len(clusters)
            clusters.append([])
            classes[place] = every.classes[new]
        clusters[place].append(new)
        taken[place, owners[new]] = True
        means[place] = _mean_box(every, clusters[place])
    return clusters


def _mean_box(every: TeacherBoxes, members: list[int]) -> Tensor:
    weights = every.scores[members, None].clamp(min=CERTAIN)
    return (every.boxes[members] * weights).sum(0) / weights.sum()


def _closest(box: Tensor, others: Tensor, free: Tensor, same: Tensor) -> int | None:
    """Which of `others` is about the same object as `box`: the closest of its class, or else the closest.

    Args:
        box: (4,).
        others: (n, 4).
        free: which of them may be chosen, (n,).
        same: which of them are of the box's class, (n,).
    """
    overlap = box_iou(box[None], others)[0]
    rank = torch.where(free & (overlap >= SAME_OBJECT), overlap + same, 0)  # an IoU is at most 1
    return int(rank.argmax()) if rank.any() else None
