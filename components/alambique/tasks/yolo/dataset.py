"""A dataset of images with the labels of a head, in Ultralytics' formats, a row for each object.

detect    class x y width height                       its box
segment   class x1 y1 x2 y2 x3 y3 …                    its outline
pose      class x y width height x1 y1 [v1] x2 y2 …    its box and keypoints, as `kpt_shape` of data.yaml says
obb       class x1 y1 x2 y2 x3 y3 x4 y4                the corners of a box that is turned

All are shares of the image's width and height; v is 0 for a keypoint that is not labelled, 1 hidden, 2 visible.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from alambique.config import read_yaml
from alambique.data.dataset import Dataset, around, label_lines, read_boxes
from alambique.data.read_yolo import KEYPOINTS
from alambique.errors import DataError

HeadName = Literal["detect", "segment", "pose", "obb"]
"""The tasks of this folder are named after their heads."""

ROWS = {
    "segment": "class and at least three points",
    "pose": "class, box and keypoints as kpt_shape says",
    "obb": "class and four corners",
}


SLACK = 0.01
"""How far a keypoint may lie outside, as a share of the image: Ultralytics' own."""


class Sample(NamedTuple):
    """An image and its n objects.

    Attributes:
        image: its file.
        boxes: centre x, centre y, width, height as shares of the image, (n, 4).
        targets: class indices, (n, 1); for distillation by soft labels also how much the box counts, and the teacher's
            logit of every class, NaN where the box has no teacher, −inf where the logit was not kept:
            (n, 2 + classes).
        points: of each object: outline or corners, (p, 2), or keypoints, with how visible they are, (p, 3); empty where
            labels are boxes.
    """

    image: Path
    boxes: NDArray[np.float32]
    targets: NDArray[np.float32]
    points: Sequence[NDArray[np.float32]] = ()


@dataclass(frozen=True)
class YoloDataset(Dataset):
    """A dataset whose labels are those of a head; its `boxes` are the boxes around the objects.

    Attributes:
        head: whose labels.
        keypoints: what data.yaml says of them, `data.read_yolo.KEYPOINTS`; empty unless the head is pose.
    """

    head: HeadName = "detect"
    keypoints: tuple[tuple[str, Any], ...] = ()

    @classmethod
    def load(cls, root: Path, head: HeadName = "detect") -> Self:
        """Read `root`/data.yaml.

        Raises:
            DataError: it is missing, broken, or says nothing of keypoints where the head is pose.
        """
        plain = Dataset.load(root)
        content = read_yaml(root / "data.yaml") if head == "pose" else {}
        keypoints = tuple((key, content[key]) for key in KEYPOINTS if key in content)
        if head == "pose":
            _check(dict(keypoints), root / "data.yaml")
        return cls(plain.root, plain.classes, plain.folders, head, keypoints)

    @property
    def kpt_shape(self) -> tuple[int, int]:
        """How many keypoints an object has, and how many numbers each; (0, 0) without any."""
        count, numbers = dict(self.keypoints).get("kpt_shape", (0, 0))
        return count, numbers

    def sample(self, image: Path) -> Sample:
        """An image with its labels.

        Raises:
            DataError: a row is not as its head's are; the message names file and line.
        """
        label = self.label(image)
        if self.head == "detect":
            plain = read_boxes(label).astype(np.float32)
            return Sample(image, plain[:, 1:], plain[:, :1])
        rows = [self._row(place, line) for place, line in label_lines(label)]
        boxes = np.array([box for _, box, _ in rows], np.float32).reshape(-1, 4)
        targets = np.array([index for index, _, _ in rows], np.float32).reshape(-1, 1)
        return Sample(image, boxes, targets, [points for _, _, points in rows])

    def samples(self, split: str) -> list[Sample]:
        """The images of a split with the labels that people made."""
        return [self.sample(image) for image in self.images(split)]

    def boxes(self, image: Path) -> NDArray[np.float64]:
        """The boxes around an image's objects, as `Dataset.boxes`."""
        if self.head == "detect":
            return super().boxes(image)
        sample = self.sample(image)
        return np.hstack((sample.targets, sample.boxes)).astype(np.float64)

    def digest(self, split: str) -> str:
        """As `Dataset.digest`; beyond boxes also over what the keypoints are."""
        if self.head == "detect":
            return super().digest(split)
        return hashlib.sha256(f"{super().digest(split)} {self.keypoints}".encode()).hexdigest()

    def size(self, split: str) -> int:
        """Number of images in a split; 0 where it has none."""
        return len(self.images(split))

    def described(self) -> dict[str, Any]:
        """The dataset as Ultralytics' trainers and validators want it described."""
        names = dict(enumerate(self.classes))
        return {"train": "train", "val": "val", "names": names, "nc": len(names), "channels": 3, **dict(self.keypoints)}

    def _row(self, place: str, line: str) -> tuple[float, NDArray[np.float32], NDArray[np.float32]]:
        try:
            row = np.array(line.split(), np.float32)
        except ValueError:
            row = np.zeros(0, np.float32)
        count, numbers = self.kpt_shape
        fits = {
            "segment": len(row) >= 7 and len(row) % 2 == 1,
            "pose": len(row) == 5 + count * numbers,
            "obb": len(row) == 9,
        }[self.head]
        if not fits or not np.isfinite(row).all() or not row[0].is_integer():
            raise DataError(f"{place}: expected {ROWS[self.head]}, got {line.strip()[:80]!r}")
        if self.head == "pose":
            return row[0], row[1:5], _keypoints(row[5:].reshape(count, numbers), place)
        points = row[1:].reshape(-1, 2)
        return row[0], around(points), points


def _keypoints(points: NDArray[np.float32], place: str) -> NDArray[np.float32]:
    if points.shape[1] == 2:
        points = np.hstack((points, np.ones((len(points), 1), np.float32)))
    labelled = points[points[:, 2] > 0]
    if labelled.size and not (labelled[:, :2].min() >= -SLACK and labelled[:, :2].max() <= 1 + SLACK):
        raise DataError(f"{place}: a keypoint lies outside the image; give shares of its width and height, 0 to 1")
    return points


def _check(keypoints: dict[str, Any], source: Path) -> None:
    shape: Any = keypoints.get("kpt_shape")
    whole = isinstance(shape, list) and len(shape) == 2 and all(isinstance(number, int) for number in shape)
    if not whole or shape[0] < 1 or shape[1] not in {2, 3}:
        raise DataError(f"{source}: kpt_shape: expected how many keypoints and 2 or 3 numbers each, got {shape!r}")
    mirrored = keypoints.get("flip_idx")
    if mirrored is not None and sorted(mirrored) != list(range(shape[0])):
        raise DataError(f"{source}: flip_idx: expected each of the {shape[0]} keypoints once, got {mirrored!r}")
