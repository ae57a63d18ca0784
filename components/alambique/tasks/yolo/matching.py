"""Which of a network's predictions are right: boxes by their IoU, other heads by Ultralytics' validator of the head."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from ultralytics.cfg import get_cfg
from ultralytics.utils.ops import xywh2xyxy

from alambique.config.detect import Evaluate
from alambique.errors import DataError
from alambique.runtimes.base import Program
from alambique.tasks.yolo import average_precision
from alambique.tasks.yolo.average_precision import Detections, Matched
from alambique.tasks.yolo.dataset import YoloDataset
from alambique.tasks.yolo.decoding import Objects, Outputs, decode, known_rows, rows
from alambique.tasks.yolo.heads import HEADS
from alambique.tasks.yolo.preprocess import Letterbox, preprocess
from alambique.tasks.yolo.sample_dataset import open_samples


class ImageResult(NamedTuple):
    """A network's predictions of one image.

    Attributes:
        image: its file.
        objects: with the dataset's classes.
        matched: which of them are right by the head's measure.
        matched_boxes: which are right by their box alone; of an oriented box, the same.
        letterbox: where the image lies in the input.
    """

    image: Path
    objects: Objects
    matched: Matched
    matched_boxes: Matched
    letterbox: Letterbox


class Predictor(NamedTuple):
    """A network, and how its output is read.

    Attributes:
        program: the network.
        classes: the dataset's index of each of its classes, −1 for those that the dataset does not have.
        image_size: side of its input, pixels.
        dataset: whose classes are predicted.
        settings: which predictions count.
    """

    program: Program
    classes: NDArray[np.int64]
    image_size: int
    dataset: YoloDataset
    settings: Evaluate

    @classmethod
    def of(
        cls, program: Program, classes: list[str], image_size: int, dataset: YoloDataset, settings: Evaluate
    ) -> Self:
        """Match the network's classes with the dataset's by name.

        Raises:
            DataError: they share none.
        """
        return cls(program, class_indices(classes, dataset.classes), image_size, dataset, settings)

    def rows(self, outputs: Outputs) -> NDArray[np.float32]:
        """The objects among the network's outputs, with the dataset's classes; see `decoding.known_rows`."""
        every = rows(self.dataset.head, outputs)
        return known_rows(every, self.classes, self.settings.min_score, self.settings.max_boxes)

    def objects(self, outputs: Outputs) -> Objects:
        """The same, decoded."""
        return decode(self.dataset.head, outputs, self.rows(outputs), self.dataset.kpt_shape, self.image_size)

    def predict(self, image: Path) -> tuple[Objects, Letterbox]:
        """An image's objects, and where it lies in the input."""
        pixels, letterbox = preprocess(image, self.image_size)
        return self.objects(self.program(pixels)), letterbox


def class_indices(network: list[str], dataset: list[str]) -> NDArray[np.int64]:
    """The dataset's index of each of the network's classes, by name; −1 for one that the dataset does not have.

    Raises:
        DataError: they share none.
    """
    indices = [dataset.index(name) if name in dataset else -1 for name in network]
    if max(indices, default=-1) < 0:
        raise DataError(
            f"the network has the classes {network}, none of the dataset's {dataset}: it is another task's network"
        )
    return np.array(indices, np.int64)


def match_images(predictor: Predictor, images: Sequence[Path]) -> Iterator[ImageResult]:
    """Predict images of the dataset, one after the other, and compare with their labels."""
    by = _match_boxes if predictor.dataset.head == "detect" else _match_by_validator
    return by(predictor, images)


def _match_boxes(predictor: Predictor, images: Sequence[Path]) -> Iterator[ImageResult]:
    for image in images:
        objects, letterbox = predictor.predict(image)
        matched = _match(objects.detections, predictor.dataset.boxes(image), letterbox)
        yield ImageResult(image, objects, matched, matched, letterbox)


def _match(detections: Detections, labels: NDArray[np.float64], letterbox: Letterbox) -> Matched:
    """Match in input pixels, where `yolo val` does.

    Args:
        labels: class, centre x, centre y, width, height in shares of the image, (m, 5).
    """
    image = np.array([letterbox.width, letterbox.height] * 2) * letterbox.scale
    truth = xywh2xyxy(labels[:, 1:]) * image + np.array([letterbox.left, letterbox.top] * 2)
    return average_precision.match(*detections, truth.astype(np.float32), labels[:, 0].astype(np.int64))


def _match_by_validator(predictor: Predictor, images: Sequence[Path]) -> Iterator[ImageResult]:
    dataset, size = predictor.dataset, predictor.image_size
    hyp = get_cfg(overrides={"task": dataset.head, "imgsz": size})
    samples = [dataset.sample(image) for image in images]
    opened = open_samples(samples, dataset, imgsz=size, batch_size=1, augment=False, hyp=hyp)
    with tempfile.TemporaryDirectory() as scratch:
        validator = _validator(predictor, opened, Path(scratch))
        for index, image in enumerate(images):
            batch = validator.preprocess(opened.collate_fn([opened[index]]))
            yield ImageResult(image, *_validated(predictor, validator, batch), _letterbox(batch))


def _validator(predictor: Predictor, opened: Any, scratch: Path) -> Any:
    dataset, settings = predictor.dataset, predictor.settings
    overrides = {
        "task": dataset.head,
        "imgsz": predictor.image_size,
        "conf": settings.min_score,
        "max_det": settings.max_boxes,
        "plots": False,
    }
    validator: Any = HEADS[dataset.head].validator(SimpleNamespace(dataset=opened), scratch, overrides)
    validator.data, validator.device = dataset.described(), torch.device("cpu")
    validator.init_metrics(SimpleNamespace(names=dict(enumerate(dataset.classes)), end2end=True))
    return validator


def _validated(predictor: Predictor, validator: Any, batch: dict[str, Any]) -> tuple[Objects, Matched, Matched]:
    head, size = predictor.dataset.head, predictor.image_size
    outputs = predictor.program(np.ascontiguousarray(batch["img"].numpy()))
    known = predictor.rows(outputs)
    objects = decode(head, outputs, known, predictor.dataset.kpt_shape, size)
    raw: Any = [torch.from_numpy(known)[None], *map(torch.from_numpy, outputs[1:])]
    (prediction,) = validator.postprocess(raw if len(raw) > 1 else raw[0])
    prepared = validator._prepare_batch(0, batch)
    truth = prepared["cls"].numpy().astype(np.int64)
    right = validator._process_batch(validator._prepare_pred(prediction), prepared)
    matched = [Matched(right[key], objects.scores, objects.classes, truth) for key in (HEADS[head].matches, "tp")]
    return objects, matched[0], matched[1]


def _letterbox(batch: dict[str, Any]) -> Letterbox:
    """Where the only image of a batch lies in its input."""
    height, width = batch["ori_shape"][0]
    (scale, _), (left, top) = batch["ratio_pad"][0]
    return Letterbox(width, height, scale, int(left), int(top))
