"""How far an artifact's predictions are from those of the checkpoint that it was made from.

Two networks may have one mAP and find different things. Here their detections are compared with each other, and what is
true does not matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from ultralytics.utils.metrics import box_iou

from alambique.tasks.yolo.average_precision import Detections

IMAGES = 32
"""How many test images are compared, the first by path. What an export breaks it breaks on every image, so that a few
are enough; the checkpoint, on PyTorch, is the slowest of all that is evaluated."""

MIN_IOU = 0.5


def parity(artifact: Sequence[Detections], checkpoint: Sequence[Detections], threshold: float) -> dict[str, Any]:
    """Compare what two networks find in the same images with a score of at least `threshold`.

    Returns:
        samples: how many images were compared.
        max_score_difference, max_output_difference: the largest between detections that belong together; that of
            outputs is of the coordinates of boxes, in input pixels. None where nothing belongs together.
        agreement: share of the detections of both that have a partner, which is the F1 of either measured by the other,
            0 to 1; None where neither finds anything.
    """
    scores: list[float] = []
    boxes: list[float] = []
    partners = total = 0
    for one, other in zip(artifact, checkpoint, strict=True):
        first, second = one.above(threshold), other.above(threshold)
        rows, columns = pairs(first, second)
        partners += 2 * len(rows)
        total += len(first.scores) + len(second.scores)
        scores.extend(np.abs(first.scores[rows] - second.scores[columns]).tolist())
        boxes.extend(np.abs(first.boxes[rows] - second.boxes[columns]).ravel().tolist())
    return {
        "samples": len(artifact),
        "max_score_difference": max(scores, default=None),
        "max_output_difference": max(boxes, default=None),
        "agreement": partners / total if total else None,
    }


def pairs(first: Detections, second: Detections) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Places, (p,) each, in the one-to-one matching of greatest overlap in sum; of one class and `MIN_IOU` at least."""
    overlaps = box_iou(torch.from_numpy(first.boxes), torch.from_numpy(second.boxes)).numpy()
    overlaps[(first.classes[:, None] != second.classes[None]) | (overlaps < MIN_IOU)] = 0
    rows, columns = linear_sum_assignment(overlaps, maximize=True)
    matched = overlaps[rows, columns] > 0
    return rows[matched], columns[matched]
