"""Whether an ONNX teacher is read rightly: its figures on val's labels, and what would fit better where they are low.

A layout, a range or an order of classes that is declared wrongly raises no error: the numbers mean something else. So
such a teacher is compared with labels before a student is distilled from it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from alambique.errors import DataError
from alambique.evaluation.measures import Metrics
from alambique.tasks.yolo import evaluate
from alambique.tasks.yolo.average_precision import summarize
from alambique.tasks.yolo.dataset import YoloDataset
from alambique.tasks.yolo.matching import Predictor, match_boxes
from alambique.tasks.yolo.onnx_reading import Reading
from alambique.tasks.yolo.onnx_teacher import FILE, Detector, read

LEAST = 0.1
"""mAP50 on val below which a teacher is refused.

A YOLO26n on photos of clothes, compared with its own boxes, had 0.995 read rightly, 0.000 with the wrong range or with
boxes in shares, and 0.01 to 0.08 with its classes' names in another order. A detector below that teaches nothing.
"""

TRIED = 64
"""Val images on which other readings are tried."""

NO_CLASS = np.array([0, 1, 1, 1, 1])
"""Times a label's class, centre x, y, width, height."""


def measure_val(folder: Path, dataset: YoloDataset) -> Metrics:
    """A teacher's figures on val.

    Raises:
        DataError: it finds too little to be read rightly, or its scores are no logits; with the reading that fits.
    """
    if not any(len(dataset.boxes(image)) for image in dataset.images("val")):
        raise DataError(f"{dataset.root}: val holds no boxes; an ONNX teacher is compared with them before it teaches")
    reading = read(folder)
    detector = Detector.open(folder, torch.get_num_threads())
    figures = evaluate.on_val(_predictor(detector, dataset))
    if reading.logits and detector.lowest >= 0:
        raise DataError(
            f"the ONNX graph's lowest score on val is {detector.lowest:.3g}: they are probabilities; onnx.logits: false"
        )
    if (found := figures["map50"] or 0.0) < LEAST:
        raise DataError(
            f"the ONNX teacher's mAP50 on val is {found:.3f}, less than {LEAST}, so that it is read wrongly or of "
            f"another task: {_hint(folder, reading, dataset)}"
        )
    return figures


def _hint(folder: Path, reading: Reading, dataset: YoloDataset) -> str:
    """What to change in its section."""
    scored = [(_map50(folder, reading._replace(**changes), dataset), changes) for changes in _others(reading)]
    best, changes = max(scored, key=lambda pair: pair[0])  # of equals the first, with the fewest changes
    if best >= LEAST:
        return f"with onnx: {{{', '.join(f'{key}: {value}' for key, value in changes.items())}}} it is {best:.3f}"
    if (best := _map50(folder, reading, dataset, by_class=False)) >= LEAST:
        return f"without regard to classes it is {best:.3f}: give onnx.names in the order in which it was trained"
    return "no input_max or resize fits; compare the meaning of its numbers with that of onnx.layout"


def _others(reading: Reading) -> Iterator[dict[str, Any]]:
    """What may be declared otherwise."""
    resize = {"resize": "stretch" if reading.resize == "letterbox" else "letterbox"}
    input_max = {"input_max": 256 - reading.input_max}
    yield from (input_max, resize, {**input_max, **resize})


def _map50(folder: Path, reading: Reading, dataset: YoloDataset, *, by_class: bool = True) -> float:
    """mAP50 of a reading on val's first images; 0 where its numbers cannot be read so."""
    predictor = _predictor(Detector(folder / FILE, reading, torch.get_num_threads()), dataset)
    matched = []
    for image in dataset.images("val")[:TRIED]:
        objects, letterbox = predictor.predict(image)
        detections, labels = objects.detections, dataset.boxes(image)
        if not by_class:
            detections, labels = detections._replace(classes=np.zeros_like(detections.classes)), labels * NO_CLASS
        matched.append(match_boxes(detections, labels, letterbox))
    return summarize(matched, dataset.classes)["map50"] or 0.0


def _predictor(detector: Detector, dataset: YoloDataset) -> Predictor:
    reading = detector.reading
    predictor = Predictor.of(detector.program, dataset.classes, reading.image_size, dataset, evaluate.COCO)
    return predictor._replace(resize=reading.resize)
