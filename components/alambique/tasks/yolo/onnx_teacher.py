"""A detector that somebody else exported to ONNX, as a teacher: its checkpoint, and its predictions.

The checkpoint's folder holds the file byte by byte, and beside it how it is read. It runs in the restricted child of
`process.sandbox`; of what comes back only numbers are used, and only in the shape that the layout has.
"""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from ultralytics.utils.ops import xywh2xyxy

from alambique.config.detect import Layout, Teacher
from alambique.errors import DataError
from alambique.files import read_json, sha256, write_json
from alambique.process import sandbox
from alambique.tasks import weight_files
from alambique.tasks.yolo import onnx_child, onnx_reading
from alambique.tasks.yolo.export_head import suppress
from alambique.tasks.yolo.onnx_reading import Reading, fits, shape_of

FILE = "model.onnx"
READING = "reading.json"
LARGEST = 1 << 26
"""Numbers in one output, at most: those of a raw head for 80 classes at 14,000 px."""
EPSILON = 1e-7
"""Probabilities stay this far from 0 and 1, so that their logits are finite in half precision."""


def is_one(folder: Path) -> bool:
    """Whether a checkpoint's folder holds an ONNX graph."""
    return (folder / FILE).is_file()


def copy(weights: Path, teacher: Teacher, classes: list[str], image_size: int, folder: Path) -> None:
    """Write a file and how it is read into a checkpoint's folder.

    Args:
        classes, image_size: see `onnx_reading.decide`.
    Raises:
        DataError: the file does not fit what is declared; the message says what would.
    """
    if not teacher.exported:  # what it cannot do is refused by params.yaml alone
        raise DataError(f"{weights} is an ONNX graph; give `onnx: {{}}` beside `weights`, or a name that ends in .onnx")
    reading = onnx_reading.decide(weights, teacher, classes, image_size)
    shutil.copyfile(weights, folder / FILE)
    write_json(folder / READING, reading._asdict())
    side = reading.image_size
    with weight_files.named(folder / FILE, str(weights)):
        Detector.open(folder, 1).output(np.zeros((1, 3, side, side), np.float32))


def describe_card(folder: Path) -> dict[str, Any]:
    """What the card says of it; nobody counts an exported graph's multiply-accumulates."""
    reading = read(folder)
    return {
        "sha256": sha256(folder / FILE),
        "files": {name: sha256(folder / name) for name in (FILE, READING)},
        "parameters": reading.parameters,
        "macs": None,
        "size_bytes": (folder / FILE).stat().st_size,
        "image_size": reading.image_size,
        "classes": reading.classes,
        "resize": reading.resize,
    }


def read(folder: Path) -> Reading:
    """How the file in a checkpoint's folder is read."""
    return Reading(**read_json(folder / READING))


class Detector:
    """A file, opened in its child.

    Attributes:
        lowest: score that it has put out, as it was.
    """

    def __init__(self, path: Path, reading: Reading, threads: int) -> None:
        self.reading, self.lowest = reading, np.inf
        self._server = sandbox.Server(onnx_child.__name__, path, "serve", str(reading.image_size), str(threads))

    @classmethod
    def open(cls, folder: Path, threads: int) -> Self:
        """The one in a checkpoint's folder."""
        return cls(folder / FILE, read(folder), threads)

    def program(self, *inputs: NDArray[Any]) -> list[NDArray[Any]]:
        """One image's final boxes, as artifacts' programs give them: (1, n, 6), of the dataset's class indices."""
        boxes, scores, classes = self._places(inputs[0])
        if classes is None:
            return [suppress(torch.from_numpy(np.hstack((boxes, scores))))[None].numpy()]
        return [np.column_stack((boxes, scores, classes)).astype(np.float32)[None]]

    def predict(self, images: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Boxes and class logits of each image, as `soft_labels.predict_raw`.

        Of final boxes only one class's score is known, and those of equal boxes: see `complete`.

        Args:
            images: (batch, 3, size, size), RGB, 0 to 1.
        """
        rows = [self._predict(image[None].numpy()) for image in images]
        return [boxes for boxes, _ in rows], [logits for _, logits in rows]

    def _predict(self, image: NDArray[np.float32]) -> tuple[Tensor, Tensor]:
        boxes, scores, classes = self._places(image)
        if classes is not None:
            boxes, scores = complete(boxes, scores, classes, len(self.reading.columns))
        probabilities = torch.from_numpy(scores.astype(np.float64))
        return torch.from_numpy(boxes), probabilities.logit(EPSILON).float()

    def _places(
        self, image: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64] | None]:
        """Boxes as corners, (n, 4), and their probabilities: of all classes, (n, classes), or of one, (n,), and which.

        What is not finite is no box. A class that the dataset does not have is −1.
        """
        output, columns = self.output(image * np.float32(self.reading.input_max)), self.reading.columns
        if self.reading.layout == "raw":
            output = output[:, np.isfinite(output).all(0)].T
            boxes = np.ascontiguousarray(xywh2xyxy(output[:, :4]))
            return boxes, self._probabilities(output[:, 4:])[:, columns], None
        output = output[np.isfinite(output).all(1)]
        output = output[(output[:, 4] != 0) | (output[:, 2:4] > output[:, :2]).all(1)]  # rows of zeros fill it up
        named = np.rint(output[:, 5].clip(-1, self.reading.known)).astype(np.int64)
        ours = np.array([columns.index(name) if name in columns else -1 for name in named.tolist()], np.int64)
        return np.ascontiguousarray(output[:, :4]), self._probabilities(output[:, 4]), ours

    def output(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """One image's output as it is, without the first axis.

        Raises:
            DataError: it has another layout than is declared; the message says which would fit.
        """
        self._server.send(np.ascontiguousarray(image, np.float32).tobytes())
        sizes = np.frombuffer(self._server.receive(24), np.int64).tolist()
        layout, known = self.reading.layout, self.reading.known
        if not fits(layout, sizes, known) or math.prod(sizes) > LARGEST:
            other: Layout = "end2end" if layout == "raw" else "raw"
            what = f"onnx.layout: {other} has that" if fits(other, sizes, known) else "no layout has that"
            raise DataError(
                f"the ONNX graph puts out {tuple(sizes)}, but the layout {layout} for {known} classes is "
                f"{shape_of(layout, known)}; {what}"
            )
        numbers = np.frombuffer(self._server.receive(4 * math.prod(sizes)), np.float32)
        return numbers.reshape(sizes[1:])

    def _probabilities(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        if scores.size:
            self.lowest = min(self.lowest, float(scores.min()))
        if self.reading.logits:
            return torch.from_numpy(np.ascontiguousarray(scores)).sigmoid().numpy()
        if scores.size and (self.lowest < -1e-3 or scores.max() > 1 + 1e-3):
            worst = self.lowest if self.lowest < -1e-3 else float(scores.max())
            raise DataError(
                f"the ONNX graph puts out a score of {worst:.3g}, which is no probability; onnx.logits: true"
            )
        return scores.clip(0, 1)


def complete(
    boxes: NDArray[np.float32], scores: NDArray[np.float32], classes: NDArray[np.int64], known: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """A probability of every class for boxes of which one class's is known.

    Rows of the same box are one box. A class that it has no row of gets its share of what is left of 1, but no more
    than the lowest score among the rows: best-first lists leave out what is lower.

    Args:
        boxes, scores, classes: of n rows, (n, 4), (n,), (n,); a class of −1 is none of the known ones.
        known: number of classes.
    Returns:
        m boxes, (m, 4), and their probabilities, (m, known); m ≤ n.
    """
    lowest, ours = scores.min(initial=1), classes >= 0
    unique, owners = np.unique(boxes[ours], axis=0, return_inverse=True)
    every = np.full((len(unique), known), -1.0, np.float32)
    np.maximum.at(every, (owners.reshape(-1), classes[ours]), scores[ours])
    missing = every < 0
    left = 1 - np.where(missing, 0, every).sum(1, keepdims=True)
    share = left / np.maximum(missing.sum(1, keepdims=True), 1)
    return unique, np.where(missing, share.clip(0, lowest), every).astype(np.float32)
