"""What a subject finds in images from the field, which have no labels: how much, how surely, and as the teacher or not.

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
from alambique.data.dataset import Dataset
from alambique.errors import IntegrityError
from alambique.evaluation.measures import Metrics
from alambique.tasks.detect.average_precision import Detections
from alambique.tasks.detect.parity import parity

RESULTS = "field.arrow"
IMAGES = 200
"""How many are looked at, spread evenly over all of them by name."""

SCHEMA = pa.schema(
    {
        "image": pa.string(),  # path inside data/images
        "boxes": pa.list_(pa.list_(pa.float32())),  # x1, y1, x2, y2, shares of the image
        "scores": pa.list_(pa.float32()),
        "classes": pa.list_(pa.int32()),  # index into the dataset's classes
    }
)


def chosen(dataset: Dataset) -> list[Path]:
    """The images to look at; none where production never drifted."""
    images = dataset.production_images()
    places = np.linspace(0, len(images) - 1, min(IMAGES, len(images))).round().astype(int)
    return [images[place] for place in places]


def summarize(rows: Sequence[dict[str, Any]], settings: Evaluate) -> Metrics:
    """What was found with a score of at least `evaluate.threshold`.

    Args:
        rows: of `SCHEMA`, one an image, at least one.
    Returns:
        images: how many; threshold: that score; boxes: in an image, on average; confidence: their mean score, None
        without any; empty: the share of images in which nothing was found.
    """
    scores = [np.array(row["scores"]) for row in rows]
    kept = [each[each >= settings.threshold] for each in scores]
    found = np.concatenate(kept)
    return {
        "images": len(rows),
        "threshold": settings.threshold,
        "boxes": len(found) / len(rows),
        "confidence": float(found.mean()) if len(found) else None,
        "empty": sum(not len(each) for each in kept) / len(rows),
    }


def write(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write a field.arrow: one row of `SCHEMA` for each image, in the order of their paths."""
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, SCHEMA) as writer:
        writer.write_table(pa.Table.from_pylist(list(rows), SCHEMA))


def agreement(first: Path, second: Path, settings: Evaluate) -> float | None:
    """The share of two subjects' detections that have a partner among the other's; see `parity.parity`.

    Args:
        first, second: folders of their evaluations.
    Returns:
        0 to 1; None where one of them saw no such images, or neither found anything.
    Raises:
        IntegrityError: they did not see the same images.
    """
    if not all((folder / RESULTS).exists() for folder in (first, second)):
        return None
    tables = [_read(folder / RESULTS) for folder in (first, second)]
    if tables[0].column("image") != tables[1].column("image"):
        raise IntegrityError(f"{first} and {second} are about different images: evaluate both anew (`dvc repro`)")
    one, other = (_detections(table) for table in tables)
    share: float | None = parity(one, other, settings.threshold)["agreement"]
    return share


def _read(path: Path) -> pa.Table:
    with pa.memory_map(str(path)) as file:
        return pa.ipc.open_file(file).read_all()


def _detections(table: pa.Table) -> list[Detections]:
    return [
        Detections(
            np.array(row["boxes"], np.float32).reshape(-1, 4),
            np.array(row["scores"], np.float32),
            np.array(row["classes"], np.int64),
        )
        for row in table.to_pylist()
    ]
