"""What a network with a head answers with, whichever runtime it is on: boxes, and points of what is in each.

The points are the corners of a turned box, keypoints, or the outline of a mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from ultralytics.utils import ops

from alambique.config.heads import Head
from alambique.tasks.detect.average_precision import Detections
from alambique.tasks.detect.preprocess import Letterbox

OUTLINE = 32
"""Points of a mask's outline, evenly spaced along it."""

FINER = 4
"""How much finer than a mask's pixels its outline is drawn: masks have a pixel for sixteen of the input."""

Outputs = Sequence[NDArray[np.float32]]
"""A network's: one row for each object, (1, n, 6 + …), and of one for masks the prototypes, (1, k, size/4, size/4)."""


class Found(NamedTuple):
    """An image's objects by falling score.

    Attributes:
        boxes: x1, y1, x2, y2, around all of the object, in input pixels, (n, 4).
        scores, classes: (n,), (n,); the classes are the network's.
        points: x and y in input pixels, and for keypoints how visible they are if the network says so, (n, p, d).
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    classes: NDArray[np.int64]
    points: NDArray[np.float32]

    @property
    def detections(self) -> Detections:
        """The boxes alone."""
        return Detections(self.boxes, self.scores, self.classes)


def points_of(head: Head, kpt_shape: tuple[int, int]) -> tuple[int, int]:
    """How many points an object has, and how many numbers each."""
    return {"segment": (OUTLINE, 2), "pose": kpt_shape, "obb": (4, 2)}[head]


def rows_of(outputs: Outputs, classes: int, min_score: float, max_boxes: int) -> NDArray[np.float32]:
    """The rows of a network's first output that are an object, by falling score.

    A broken artifact may answer with anything; what is no box of a known class is left out.

    Args:
        classes: how many the network knows.
        min_score, max_boxes: as in params.yaml.
    """
    rows = outputs[0][0]
    rows = rows[np.isfinite(rows).all(axis=1)]
    numbers = np.rint(rows[:, 5])
    rows = rows[(rows[:, 4] > min_score) & (numbers >= 0) & (numbers < classes)]
    found: NDArray[np.float32] = rows[np.argsort(-rows[:, 4], kind="stable")][:max_boxes]
    return found


def decode(
    head: Head, outputs: Outputs, rows: NDArray[np.float32], kpt_shape: tuple[int, int], image_size: int
) -> Found:
    """What rows say in points.

    Args:
        head: what the network has.
        outputs: all of it; masks need the prototypes.
        rows: of `rows_of`.
        kpt_shape: of keypoints.
        image_size: side of the input, pixels.
    """
    count, numbers = points_of(head, kpt_shape)
    boxes, extra = rows[:, :4], rows[:, 6:]
    if head == "obb":
        turned = torch.from_numpy(np.hstack((boxes, extra)))
        points = ops.xywhr2xyxyxyxy(turned).numpy().reshape(-1, 4, 2)
        boxes = np.hstack((points.min(1), points.max(1))).reshape(-1, 4)
    elif head == "pose":
        points = extra.reshape(-1, count, numbers)
    else:
        points = _outlines(outputs[1][0], extra, boxes, image_size)
    return Found(boxes, rows[:, 4], np.rint(rows[:, 5]).astype(np.int64), points.astype(np.float32))


def to_shares(points: NDArray[np.float32], letterbox: Letterbox) -> NDArray[np.float32]:
    """Points in input pixels as shares of the image, cut at its borders; a third number stays, (n, p, d)."""
    border = np.array([letterbox.left, letterbox.top], np.float32)
    size = np.array([letterbox.width, letterbox.height], np.float32)
    shares = np.clip((points[..., :2] - border) / letterbox.scale / size, 0, 1)
    return np.concatenate((shares, points[..., 2:]), -1).astype(np.float32)


def _outlines(
    prototypes: NDArray[np.float32], coefficients: NDArray[np.float32], boxes: NDArray[np.float32], image_size: int
) -> NDArray[np.float32]:
    given = (torch.from_numpy(np.ascontiguousarray(each)) for each in (prototypes, coefficients, boxes))
    masks = ops.process_mask(*given, shape=(image_size, image_size)).numpy()
    stride = image_size / prototypes.shape[-1]
    lines = [_outline(mask, box / stride) * stride for mask, box in zip(masks, boxes, strict=True)]
    return np.array(lines, np.float32).reshape(-1, OUTLINE, 2)


def _outline(mask: NDArray[np.uint8], box: NDArray[np.float32]) -> NDArray[np.float32]:
    """The border of the largest part of a mask, evenly spaced; that of its box where it is empty, in mask pixels."""
    # Contours run through the centres of the pixels at the border: of large ones they would cut off half.
    fine = cv2.resize(mask, None, fx=FINER, fy=FINER, interpolation=cv2.INTER_NEAREST)
    parts, _ = cv2.findContours(fine, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if parts:
        border = (max(parts, key=cv2.contourArea).reshape(-1, 2).astype(np.float32) + 0.5) / FINER
    else:
        x1, y1, x2, y2 = box
        border = np.array([(x1, y1), (x2, y1), (x2, y2), (x1, y2)], np.float32)
    closed = np.vstack((border, border[:1]))
    along = np.concatenate(([0.0], np.cumsum(np.hypot(*np.diff(closed, axis=0).T))))
    places = np.linspace(0, along[-1], OUTLINE, endpoint=False)
    return np.column_stack([np.interp(places, along, closed[:, axis]) for axis in (0, 1)]).astype(np.float32)
