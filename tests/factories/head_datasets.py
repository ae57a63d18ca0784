"""The digits' scenes with more than boxes: outlines, keypoints, and corners of boxes that are turned."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray

from alambique.config.heads import Head
from alambique.data.dataset import read_boxes
from alambique.demo.digits import Scenes

KEYPOINTS = {"kpt_shape": [3, 3], "flip_idx": [0, 2, 1]}
"""The middle of a digit's upper edge, then the lower corners, which are each other's mirror image."""


def write(head: Head, target: Path, scenes: Scenes) -> None:
    """Write a YOLO dataset with the labels of a head around the boxes of `scenes`."""
    scenes.write(target)
    for label in target.glob("labels/*/*.txt"):
        rows = [_row(head, row) for row in read_boxes(label)]
        label.write_text("".join(f"{int(index)} {' '.join(f'{value:.6f}' for value in row)}\n" for index, *row in rows))
    if head == "pose":
        content = yaml.safe_load((target / "data.yaml").read_text())
        (target / "data.yaml").write_text(yaml.safe_dump({**content, **KEYPOINTS}, sort_keys=False))


def _row(head: Head, box: NDArray[np.float64]) -> list[float]:
    index, x, y, width, height = box.tolist()
    if head == "pose":
        low, left, right = y + height / 2, x - width / 2, x + width / 2
        return [index, x, y, width, height, x, y - height / 2, 2, left, low, 2, right, low, 2]
    count, start = (4, np.pi / 6) if head == "obb" else (12, 0.0)
    angles = start + np.arange(count) * 2 * np.pi / count
    points = np.column_stack((x + width / 2 * np.cos(angles), y + height / 2 * np.sin(angles)))
    return [index, *points.ravel().tolist()]
