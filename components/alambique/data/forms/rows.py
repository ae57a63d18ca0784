"""Objects in pixels as the label rows of a head, in shares of the image: see `tasks.yolo.dataset`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from alambique.data.dataset import around
from alambique.data.forms.annotations import Object, Points

NEEDS = {
    "segment": "an outline (a polygon or mask)",
    "pose": "keypoints, or as many as the others",
    "obb": "a turned box or a polygon of four corners",
}
OUTSIDE = "objects of which nothing, or nothing with an area, lies inside the image"
CLIPPED = "objects that overshot the image by more than a pixel were clipped to it"


class MisfitError(ValueError):
    """An object has not what the head's labels need."""


def rows(
    head: str,
    objects: Sequence[Object],
    size: tuple[float, float],
    classes: Sequence[str],
    keypoints: int,
    notes: Counter[str],
) -> str:
    """The label file of an image.

    Args:
        size: width and height in pixels.
        keypoints: how many an object has, where the head is pose.
        notes: counts what is left out or clipped.
    Raises:
        MisfitError: an object lacks what the head needs.
    """
    lines = [_row(head, item, np.array(size), keypoints, notes) for item in objects]
    pairs = zip(objects, lines, strict=True)
    return "".join(f"{classes.index(item.name)} {line}\n" for item, line in pairs if line)


def _row(head: str, item: Object, size: Points, keypoints: int, notes: Counter[str]) -> str | None:
    points = _points(head, item)
    low, high = item.box.min(0), item.box.max(0)
    inside = np.clip(points, 0, size)
    if not (np.ptp(inside, axis=0) > 0).all() or not (high > low).all():
        notes[OUTSIDE] += 1
        return None
    if (points.min(0) < -1).any() or (points.max(0) > size + 1).any():
        notes[CLIPPED] += 1
    if head in {"segment", "obb"}:
        return _numbers(inside / size)
    box = around(inside / size)
    if head != "pose":
        return _numbers(box)
    if item.keypoints is None or len(item.keypoints) != keypoints:
        raise MisfitError
    shares = np.column_stack((item.keypoints[:, :2] / size, item.keypoints[:, 2]))
    shares[shares[:, 2] <= 0] = 0
    return f"{_numbers(box)} {' '.join(f'{x:.6f} {y:.6f} {seen:.0f}' for x, y, seen in shares)}"


def _points(head: str, item: Object) -> Points:
    if head == "obb":
        if len(item.box) == 4:
            return item.box
        if len(item.outlines) == 1 and len(item.outlines[0]) == 4:
            return item.outlines[0]
        if not item.outlines:
            (x1, y1), (x2, y2) = item.box
            return np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]])
        raise MisfitError
    if head != "segment":
        return item.box
    if not item.outlines:
        raise MisfitError
    if len(item.outlines) == 1:
        return item.outlines[0]
    from ultralytics.data.converter import merge_multi_segment

    return np.concatenate(merge_multi_segment([outline.tolist() for outline in item.outlines]))


def _numbers(values: Points) -> str:
    return " ".join(f"{value:.6f}" for value in values.ravel())
