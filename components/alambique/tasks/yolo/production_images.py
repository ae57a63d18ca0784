"""Predictions on images from production, which have no labels: how many, how confident, and whether as the teacher's.

They are those that joined the dataset when production had drifted. Students are trained on them with the teacher's soft
labels, so this says whether a new student copes with what is new, not how right it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from alambique.config.detect import Evaluate
from alambique.errors import IntegrityError
from alambique.evaluation.measures import Metrics
from alambique.tasks.yolo.average_precision import Detections
from alambique.tasks.yolo.dataset import YoloDataset
from alambique.tasks.yolo.decoding import Objects
from alambique.tasks.yolo.matching import Predictor
from alambique.tasks.yolo.parity import parity
from alambique.tasks.yolo.preprocess import Letterbox, restore

RESULTS = "field.arrow"
IMAGES = 200
"""How many are predicted, spread evenly over all of them by name."""

SCHEMA = pa.schema(
    {
        "image": pa.string(),  # path inside data/images
        "boxes": pa.list_(pa.list_(pa.float32())),  # x1, y1, x2, y2, shares of the image
        "scores": pa.list_(pa.float32()),
        "classes": pa.list_(pa.int32()),  # index into the dataset's classes
    }
)


def predict(predictor: Predictor) -> list[dict[str, Any]]:
    """A network's predictions on the dataset's images from production, as rows of `SCHEMA`, in the order of paths."""
    dataset = predictor.dataset
    return [row(dataset.inside(image), *predictor.predict(image)) for image in chosen(dataset)]


def chosen(dataset: YoloDataset) -> list[Path]:
    """The images to predict; none where production never drifted."""
    images = dataset.production_images()
    places = np.linspace(0, len(images) - 1, min(IMAGES, len(images))).round().astype(int)
    return [images[place] for place in places]


def row(image: str, objects: Objects, letterbox: Letterbox) -> dict[str, Any]:
    """A row of `SCHEMA`."""
    return {
        "image": image,
        "boxes": restore(objects.boxes, letterbox).tolist(),
        "scores": objects.scores.tolist(),
        "classes": objects.classes.tolist(),
    }


def summarize(rows: Sequence[dict[str, Any]], settings: Evaluate) -> Metrics:
    """Figures of the predictions with a score of at least `evaluate.threshold`.

    Args:
        rows: of `SCHEMA`, one an image, at least one.
    Returns:
        images: how many; threshold: that score; boxes: in an image, on average; confidence: their mean score, None
        without any; empty: the share of images without any.
    """
    scores = [np.array(row["scores"]) for row in rows]
    kept = [values[values >= settings.threshold] for values in scores]
    every = np.concatenate(kept)
    return {
        "images": len(rows),
        "threshold": settings.threshold,
        "boxes": len(every) / len(rows),
        "confidence": float(every.mean()) if len(every) else None,
        "empty": sum(not len(values) for values in kept) / len(rows),
    }


def agreement(first: Path, second: Path, settings: Evaluate) -> float | None:
    """The share of two networks' detections that have a partner among the other's; see `parity.parity`.

    Args:
        first, second: folders of their evaluations.
    Returns:
        0 to 1; None where one of them was not run on such images, or neither found anything.
    Raises:
        IntegrityError: they were not run on the same images.
    """
    if not all((folder / RESULTS).exists() for folder in (first, second)):
        return None
    tables = [read_results(folder / RESULTS) for folder in (first, second)]
    if tables[0].column("image") != tables[1].column("image"):
        raise IntegrityError(f"{first} and {second} are about different images: evaluate both anew (`dvc repro`)")
    one, other = ([detections(row) for row in table.to_pylist()] for table in tables)
    share: float | None = parity(one, other, settings.threshold)["agreement"]
    return share


def read_results(path: Path) -> pa.Table:
    """The rows of an evaluation's Arrow file."""
    with pa.OSFile(str(path)) as file:
        return pa.ipc.open_file(file).read_all()


def detections(row: dict[str, Any]) -> Detections:
    """The predictions of a row of `SCHEMA`, boxes in shares of the image."""
    boxes, scores = (np.array(row[name], np.float32) for name in ("boxes", "scores"))
    return Detections(boxes.reshape(-1, 4), scores, np.array(row["classes"], np.int64))
