"""mAP50-95 on resamples of the test images, a thousand times without matching, sorting or copying anything again.

An image drawn k times gives its detections and true boxes the weight k; their order by score stays that of the split.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from alambique.errors import DataError, IntegrityError
from alambique.evaluation import paired_bootstrap
from alambique.evaluation.measures import Resampled
from alambique.tasks.yolo.average_precision import THRESHOLDS, unpack
from alambique.tasks.yolo.evaluate import RESULTS, SCHEMA
from alambique.tasks.yolo.production_images import read_results

RECALLS = np.linspace(0, 1, 101)
"""Where COCO, and Ultralytics after it, read the precision off."""


class Truth(NamedTuple):
    """What is in the test images.

    Attributes:
        images: their paths, (i,).
        classes: class indices that have true boxes, ascending, (c,).
        owners: index of the image of each true box, (m,).
        numbers: place in `classes` of each true box's class, (m,).
    """

    images: list[str]
    classes: NDArray[np.int32]
    owners: NDArray[np.int64]
    numbers: NDArray[np.int64]


class Ranking(NamedTuple):
    """A network's n detections of those classes, class by class and by falling score.

    Attributes:
        owners: index of each detection's image, (n,).
        hits: positions of the correct detections, threshold by threshold within each class, (h,).
        ends: where the hits of each class and threshold end, (10 c,).
        origins: position of the first detection of the class, for each class and threshold, (10 c,).
    """

    owners: NDArray[np.int64]
    hits: NDArray[np.int64]
    ends: NDArray[np.int64]
    origins: NDArray[np.int64]


class Draw(NamedTuple):
    """One resample, the same for every network.

    Attributes:
        weights: how often each image was drawn, (i,).
        present: whether a true box of each class was drawn, (c,).
        needed: correct detections of each class from which recall exceeds each of `RECALLS`, (c, 101).
    """

    weights: NDArray[np.int64]
    present: NDArray[np.bool_]
    needed: NDArray[np.int64]


def resample(folders: Sequence[Path]) -> Resampled:
    """mAP50-95 of some evaluations; see `alambique.tasks.Task.resample`.

    Raises:
        DataError: the evaluations are not about the same images, or these hold no true box.
        IntegrityError: an evaluation was written by another version.
    """
    tables = [_table(folder) for folder in folders]
    boxes = truth(tables[0])
    _check(dict(zip(folders, tables, strict=True)), boxes)
    rankings = [rank(table, boxes.classes) for table in tables]
    images = len(boxes.images)
    draws = (draw(boxes, weights) for weights in paired_bootstrap.weights(images))
    values = [[mean_average_precision(ranking, drawn) for ranking in rankings] for drawn in draws]
    return Resampled(np.array(values).T, images)


def truth(table: pa.Table) -> Truth:
    """The true boxes of an images.arrow."""
    owners, boxes = _flat(table["truth"])
    classes, numbers = np.unique(boxes, return_inverse=True)
    return Truth(table["image"].to_pylist(), classes, owners, numbers)


def rank(table: pa.Table, classes: NDArray[np.int32]) -> Ranking:
    """Sort the detections of an images.arrow, once for all resamples; other classes than these count for nothing."""
    (owners, scores), (_, indices), (_, bits) = (_flat(table[name]) for name in ("scores", "classes", "correct"))
    order = np.argsort(-scores)  # the call that Ultralytics makes, so that equal scores fall into the same order
    order = order[np.isin(indices[order], classes)]
    order = order[np.argsort(indices[order], kind="stable")]
    numbers = np.searchsorted(classes, indices[order])
    thresholds, hits = np.nonzero(unpack(bits[order]).T)
    curves = numbers[hits] * len(THRESHOLDS) + thresholds
    by_curve = np.argsort(curves, kind="stable")
    ends = np.searchsorted(curves[by_curve], np.arange(len(classes) * len(THRESHOLDS)), side="right")
    origins = np.repeat(np.searchsorted(numbers, np.arange(len(classes))), len(THRESHOLDS))
    return Ranking(owners[order], hits[by_curve], ends, origins)


def draw(boxes: Truth, weights: NDArray[np.int64]) -> Draw:
    """What of a resample all networks share."""
    totals = np.bincount(boxes.numbers, weights[boxes.owners], len(boxes.classes)).astype(np.int64)
    needed = [np.searchsorted(np.arange(n + 1) / n, RECALLS, side="right") for n in np.maximum(totals, 1)]
    return Draw(weights, totals > 0, np.array(needed))


def mean_average_precision(ranking: Ranking, drawn: Draw) -> float:
    """What Ultralytics' `ap_per_class` gives when image i stands in the split `weights[i]` times; NaN without a box.

    Interpolated at a recall, precision is the highest from the first detection on whose recall exceeds it. A correct
    detection is never less precise than a wrong one just before it, so that it is enough to look at the correct ones.
    """
    if not drawn.present.any():
        return float("nan")
    copies = drawn.weights[ranking.owners]
    counted = np.concatenate(([0], np.cumsum(copies)))
    correct = np.concatenate(([0], np.cumsum(copies[ranking.hits])))
    starts = np.concatenate(([0], ranking.ends[:-1]))
    before, skipped = (
        np.repeat(values, ranking.ends - starts) for values in (correct[starts], counted[ranking.origins])
    )
    precision = (correct[1:] - before) / np.maximum(counted[ranking.hits + 1] - skipped, 1)
    wanted = correct[starts][:, None] + np.repeat(drawn.needed, len(THRESHOLDS), axis=0)
    first = np.minimum(np.searchsorted(correct[1:], wanted), ranking.ends[:, None])  # (10 c, 101)
    best = np.maximum.reduceat(np.append(precision, 0), first.ravel()).reshape(first.shape)
    best[first == ranking.ends[:, None]] = 0  # a recall that is never exceeded
    envelope = np.maximum.accumulate(best[:, ::-1], axis=1)[:, ::-1]
    average = np.trapezoid(envelope, RECALLS, axis=1).reshape(-1, len(THRESHOLDS))
    return float(average[drawn.present].mean())


def _flat(column: pa.ChunkedArray) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """A column of lists as the row of each value, and the values."""
    lists = column.combine_chunks()
    return np.repeat(np.arange(len(lists)), lists.value_lengths().to_numpy()), lists.flatten().to_numpy()


def _table(folder: Path) -> pa.Table:
    table = read_results(folder / RESULTS)
    if table.schema != SCHEMA:
        raise IntegrityError(
            f"{folder / RESULTS} has the columns {', '.join(table.schema.names)}, and should have "
            f"{', '.join(SCHEMA.names)}: another version wrote it; run the evaluate stages again (`dvc repro --force`)"
        )
    return table


def _check(tables: dict[Path, pa.Table], boxes: Truth) -> None:
    reference, first = next(iter(tables.items()))
    for folder, table in tables.items():
        if not table.select(["image", "truth"]).equals(first.select(["image", "truth"])):
            raise DataError(
                f"{folder} and {reference} were not evaluated on the same images, so that their difference means "
                "nothing; evaluate both on today's data (`dvc repro`)"
            )
    if not len(boxes.classes):
        raise DataError(f"{reference} holds no true box, so that there is no mAP to compare; label some test images")
