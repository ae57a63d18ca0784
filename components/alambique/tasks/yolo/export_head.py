"""How a network is made to put out its final objects: by its one-to-one branch, or by suppression.

A YOLO26's one-to-one branch is trained to find each object once. In YOLO11 and YOLOv8, whose head has one branch, many
places predict it, so that what overlaps a higher-scored box of its class has to be removed. This happens inside the
network: artifacts of every family have the same output.

Ultralytics' heads for masks, poses and oriented boxes pick the best objects' boxes and the rest of each apart. OpenVINO
2026.4 takes the cut before such a pick for one that does nothing, and then refuses the graph; picking whole rows, and
cutting them afterwards, is the same.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torchvision.ops import nms
from ultralytics.nn.modules import OBB26, Detect, Pose26, Segment26
from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils.tal import dist2bbox

from alambique.tasks.yolo.decoding import MAX_BOXES
from alambique.tasks.yolo.network import has_one_to_one, prefer_one_to_one

IOU = 0.7
"""From which overlap on two boxes of a class are of one object: Ultralytics' own."""

MIN_SCORE = 0.001
"""Scores up to here are left out: Ultralytics' own where accuracy is measured."""

CANDIDATES = 10 * MAX_BOXES
"""How many of the best-scored boxes are compared with each other, which bounds the time that a bad network takes."""


def end_to_end(model: DetectionModel) -> DetectionModel:
    """Make a network put out its final boxes, in place: by its one-to-one branch, or else by suppression.

    Returns:
        the network, (1, 3, size, size) → (1, n, 6): x1, y1, x2, y2 in input pixels, score, class index, by falling
        score. Suppression always gives `MAX_BOXES` rows, of which those without a box are zero.
    """
    prefer_one_to_one(model)
    if not has_one_to_one(model):
        head: Any = model.model[-1]
        head.dfl = Expectation(head.reg_max)
        head.__class__ = SuppressingDetect
    return model


class Expectation(nn.Module):
    """The mean of a distribution over distances, as Ultralytics' `DFL`, which computes it by a convolution.

    What quantization leaves in floating point ends at the last convolutions: they have to be those that are trained.
    """

    distances: Tensor

    def __init__(self, bins: int) -> None:
        super().__init__()
        self.register_buffer("distances", torch.arange(bins, dtype=torch.float)[:, None])

    def forward(self, x: Tensor) -> Tensor:
        """Logits of each side's distances, (batch, 4 · bins, places) → distances, (batch, 4, places)."""
        batch, channels, places = x.shape
        probabilities = x.view(batch, 4, channels // 4, places).softmax(2)
        return (probabilities * self.distances).sum(2)


class SuppressingDetect(Detect):  # type: ignore[misc]
    """Ultralytics' head with one branch, for one image, followed by `suppress`."""

    def decode_bboxes(self, bboxes: Tensor, anchors: Tensor, angle: Tensor | None = None) -> Tensor:
        """Distances, (1, 4, places), as corners."""
        corners: Tensor = dist2bbox(bboxes, anchors, xywh=False, dim=1)
        return corners

    def _inference(self, x: dict[str, Tensor]) -> Tensor:
        return suppress(super()._inference(x)[0].T)[None]


def suppress(places: Tensor) -> Tensor:
    """Keep the best-scored boxes, class by class, of which no two overlap by more than `IOU`; can be traced.

    Args:
        places: x1, y1, x2, y2 and a score for each class, (places, 4 + classes).
    Returns:
        x1, y1, x2, y2, score, class index, by falling score and then zeros, (MAX_BOXES, 6).
    """
    corners, scores = places[:, :4], places[:, 4:].flatten()
    likely = (scores > MIN_SCORE).nonzero()[:, 0]
    likely = likely[scores[likely].argsort(descending=True)[:CANDIDATES]]
    known = places.shape[1] - 4
    boxes, classes, score = corners[likely // known], (likely % known).to(places.dtype)[:, None], scores[likely]
    apart = corners.max() - corners.min() + 1  # boxes of different classes, moved by it, never overlap
    kept = nms(boxes + classes * apart, score, IOU)
    rows = torch.cat((boxes, score[:, None], classes), 1)[kept]
    # The view tells a trace that so many are left in any case.
    return torch.cat((rows, rows.new_zeros(MAX_BOXES, 6)))[:MAX_BOXES].view(MAX_BOXES, 6)


class WholeRows(Detect):  # type: ignore[misc]
    """Ultralytics' choice of the best objects, row by row."""

    def postprocess(self, preds: Tensor) -> Tensor:
        """Box, class scores and the rest, (1, places, …) → box, score, class index and the rest, (1, n, …)."""
        scores, index, places = self.get_topk_index(preds[..., 4 : 4 + self.nc], self.max_det)
        rows = self._gather(preds, places)
        return torch.cat((rows[..., :4], scores, index, rows[..., 4 + self.nc :]), -1)


def final_objects(model: DetectionModel) -> DetectionModel:
    """Make a network put out its final objects, as a runtime's converter takes it, in place.

    Returns:
        the network, (1, 3, size, size) → (1, n, 6 + …): box, score, class index and the rest, by falling score; and of
        masks the prototypes.
    """
    head: Any = model.model[-1]
    if isinstance(head, Segment26 | Pose26 | OBB26):
        head.__class__ = type("WholeRows", (WholeRows, type(head)), {})
    return end_to_end(model)
