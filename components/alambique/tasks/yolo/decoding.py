"""From a network's output tensors, whichever runtime computed them, to objects: boxes and the points of each.

Points are the corners of an oriented box, keypoints, or the outline of a mask; a detector has none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from ultralytics.utils import ops

from alambique.errors import DataError
from alambique.runtimes.base import Program
from alambique.tasks.yolo.average_precision import Detections
from alambique.tasks.yolo.dataset import HeadName

MAX_BOXES = 300
"""Of an image at most: `Detect.max_det` of Ultralytics' end-to-end head."""

OUTLINE = 32
"""Points of a mask's outline, evenly spaced along it."""

FINER = 4
"""How much finer than a mask's pixels its outline is drawn: masks have a pixel for sixteen of the input."""

Outputs = Sequence[NDArray[np.float32]]
"""A network's: one row for each object, (1, n, 6 + …), and of one for masks the prototypes, (1, k, size/4, size/4)."""


class Objects(NamedTuple):
    """An image's objects by falling score.

    Attributes:
        boxes: x1, y1, x2, y2, around all of the object, in input pixels, (n, 4).
        scores, classes: (n,), (n,).
        points: x and y in input pixels, and for keypoints their visibility if the network has it, (n, p, d).
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    classes: NDArray[np.int64]
    points: NDArray[np.float32]

    @property
    def detections(self) -> Detections:
        """The boxes alone."""
        return Detections(self.boxes, self.scores, self.classes)


def point_shape(head: HeadName, kpt_shape: tuple[int, int]) -> tuple[int, int]:
    """How many points an object has, and how many numbers each."""
    return {"detect": (0, 2), "segment": (OUTLINE, 2), "pose": kpt_shape, "obb": (4, 2)}[head]


def rows(head: HeadName, outputs: Outputs) -> NDArray[np.float32]:
    """The rows of a network's first output, one an object: box, score, class index and the rest, (n, 6 + …).

    Raises:
        DataError: the output is none of final objects.
    """
    first = outputs[0]
    if first.ndim != 3 or first.shape[0] != 1 or (head == "detect" and first.shape[2] != 6):
        raise DataError(f"the network puts out {first.shape}, not final boxes (1, n, 6): export an end-to-end network")
    objects: NDArray[np.float32] = first[0]
    return objects


def with_best_boxes(program: Program, runtime: str | None) -> Program:
    """A detector's artifact whose output is its final boxes: ncnn cannot choose them, so its files put out all places.

    Args:
        runtime: the artifact's; None for a checkpoint.
    """
    if runtime != "ncnn":
        return program
    return lambda *inputs: [best(program(*inputs)[0][0])[np.newaxis]]


def best(places: NDArray[np.float32]) -> NDArray[np.float32]:
    """The boxes of the highest scores, as Ultralytics' end-to-end head chooses them (`Detect.get_topk_index`).

    Args:
        places: of the one-to-one branch, decoded, (places, 4 + classes): x1, y1, x2, y2, a score for each class.
    Returns:
        x1, y1, x2, y2, score, class index, by falling score, (n, 6), n ≤ MAX_BOXES.
    """
    count = min(MAX_BOXES, len(places))
    likely = np.argpartition(-places[:, 4:].max(axis=1), count - 1)[:count]
    chosen = places[np.sort(likely)]  # equal scores in the order of their places
    scores = chosen[:, 4:]
    order = np.argsort(-scores, axis=None, kind="stable")[:count]
    owners, classes = np.unravel_index(order, scores.shape)
    return np.column_stack([chosen[owners, :4], scores[owners, classes], classes]).astype(np.float32)


def known_rows(
    objects: NDArray[np.float32], classes: NDArray[np.int64], min_score: float, max_boxes: int
) -> NDArray[np.float32]:
    """The rows that are an object of a known class, by falling score, with that class's index.

    A broken artifact may put out anything: what is no box of a known class counts as not found, and gates reject it.

    Args:
        objects: as of `rows`.
        classes: the dataset's index of each of the network's classes, −1 for those that it does not have.
        min_score, max_boxes: as in params.yaml.
    """
    objects = objects[np.isfinite(objects).all(axis=1)]
    numbers = np.rint(objects[:, 5])
    objects = objects[(objects[:, 4] > min_score) & (numbers >= 0) & (numbers < len(classes))]
    objects = objects[np.argsort(-objects[:, 4], kind="stable")]
    objects[:, 5] = classes[np.rint(objects[:, 5]).astype(np.int64)]
    known: NDArray[np.float32] = objects[objects[:, 5] >= 0][:max_boxes]
    return known


def decode(
    head: HeadName, outputs: Outputs, objects: NDArray[np.float32], kpt_shape: tuple[int, int], image_size: int
) -> Objects:
    """Rows as objects with points.

    Args:
        outputs: all of the network's; masks need the prototypes.
        image_size: side of the input, pixels.
    """
    count, numbers = point_shape(head, kpt_shape)
    boxes, extra = objects[:, :4], objects[:, 6:]
    if head == "obb":
        oriented = torch.from_numpy(np.hstack((boxes, extra)))
        points = ops.xywhr2xyxyxyxy(oriented).numpy().reshape(-1, 4, 2)
        boxes = np.hstack((points.min(1), points.max(1))).reshape(-1, 4)
    elif head == "segment":
        points = _outlines(outputs[1][0], extra, boxes, image_size)
    else:
        points = extra.reshape(len(objects), count, numbers)
    return Objects(boxes, objects[:, 4], np.rint(objects[:, 5]).astype(np.int64), points.astype(np.float32))


def decoded_rows(
    head: HeadName, outputs: Outputs, classes: int, kpt_shape: tuple[int, int], image_size: int
) -> NDArray[np.float32]:
    """All objects of a network's outputs, decoded: box, score, class index and the numbers of its points.

    Returns:
        (n, 6 + p · d).
    """
    every = rows(head, outputs)
    if head == "detect":
        return every
    objects = decode(head, outputs, known_rows(every, np.arange(classes), 0.0, len(every)), kpt_shape, image_size)
    count, numbers = point_shape(head, kpt_shape)
    points = objects.points.reshape(len(objects.scores), count * numbers)
    return np.column_stack((objects.boxes, objects.scores, objects.classes, points)).astype(np.float32)


def _outlines(
    prototypes: NDArray[np.float32], coefficients: NDArray[np.float32], boxes: NDArray[np.float32], image_size: int
) -> NDArray[np.float32]:
    tensors = (torch.from_numpy(np.ascontiguousarray(array)) for array in (prototypes, coefficients, boxes))
    masks = ops.process_mask(*tensors, shape=(image_size, image_size)).numpy()
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
