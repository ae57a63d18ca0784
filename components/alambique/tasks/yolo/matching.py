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
from alambique.tasks.yolo.network import HEADS
from alambique.tasks.yolo.preprocess import Letterbox, Resize, preprocess
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
        resize: how images come into its input.
    """

    program: Program
    classes: NDArray[np.int64]
    image_size: int
    dataset: YoloDataset
    settings: Evaluate
    resize: Resize = "letterbox"

    @classmethod
    def of(
        cls, program: Program, classes: list[str], image_size: int, dataset: YoloDataset, settings: Evaluate
    ) -> Self:
        """Match the network's classes with the dataset's by name; a DataError if they share none."""
        known = dataset.classes
        indices = [known.index(name) if name in known else -1 for name in classes]
        if max(indices, default=-1) < 0:
            raise DataError(
                f"the network has the classes {classes}, none of the dataset's {known}: it is another task's network"
            )
        return cls(program, np.array(indices, np.int64), image_size, dataset, settings)

    def objects(self, outputs: Outputs) -> tuple[NDArray[np.float32], Objects]:
        """The objects among the network's outputs, of the dataset's classes: as `decoding.known_rows`, and decoded."""
        dataset, settings = self.dataset, self.settings
        known = known_rows(rows(dataset.head, outputs), self.classes, settings.min_score, settings.max_boxes)
        return known, decode(dataset.head, outputs, known, dataset.kpt_shape, self.image_size)

    def predict(self, image: Path) -> tuple[Objects, Letterbox]:
        """An image's objects, and where it lies in the input."""
        pixels, letterbox = preprocess(image, self.image_size, self.resize)
        _, objects = self.objects(self.program(pixels))
        return objects, letterbox


def match_images(predictor: Predictor, images: Sequence[Path]) -> Iterator[ImageResult]:
    """Predict images of the dataset, one after the other, and compare with their labels."""
    if predictor.dataset.head != "detect":
        yield from _match_by_validator(predictor, images)
        return
    for image in images:
        objects, letterbox = predictor.predict(image)
        matched = match_boxes(objects.detections, predictor.dataset.boxes(image), letterbox)
        yield ImageResult(image, objects, matched, matched, letterbox)


def match_boxes(detections: Detections, labels: NDArray[np.float64], letterbox: Letterbox) -> Matched:
    """Match in input pixels, where `yolo val` does; labels are class, centre x, y, width, height in shares, (m, 5)."""
    image = np.tile(np.array([letterbox.width, letterbox.height]) * letterbox.scales, 2)
    truth = xywh2xyxy(labels[:, 1:]) * image + np.array([letterbox.left, letterbox.top] * 2)
    return average_precision.match(detections, truth.astype(np.float32), labels[:, 0].astype(np.int64))


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
    outputs = predictor.program(np.ascontiguousarray(batch["img"].numpy()))
    known, objects = predictor.objects(outputs)
    raw: Any = [torch.from_numpy(known)[None], *map(torch.from_numpy, outputs[1:])]
    (prediction,) = validator.postprocess(raw if len(raw) > 1 else raw[0])
    prepared = validator._prepare_batch(0, batch)
    truth = prepared["cls"].numpy().astype(np.int64)
    right = validator._process_batch(validator._prepare_pred(prediction), prepared)
    matched, boxes = (
        Matched(right[key], objects.scores, objects.classes, truth)
        for key in (HEADS[predictor.dataset.head].matches, "tp")
    )
    return objects, matched, boxes


def _letterbox(batch: dict[str, Any]) -> Letterbox:
    """Where the only image of a batch lies in its input."""
    height, width = batch["ori_shape"][0]
    (scale, _), (left, top) = batch["ratio_pad"][0]
    return Letterbox(width, height, scale, int(left), int(top))
