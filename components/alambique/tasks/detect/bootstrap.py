"""How far a difference in mAP50-95 can be trusted: a bootstrap paired over test images and training seeds.

Each resample draws test images with replacement, the same for both sides and all seeds, so that what is hard for both
cancels out; and, where there are several, seeds with replacement. Estimated is the mean gain of the recipe on images
like these and, given several seeds, over the chance of a training; one seed says nothing about the latter.

The two are crossed, since every seed's student sees every image; resampling each on its own is the pigeonhole bootstrap
(Owen 2007, The pigeonhole bootstrap, Annals of Applied Statistics 1(2)). The interval is the percentile one (Efron &
Tibshirani 1993, An Introduction to the Bootstrap, §13.3). Resampling S seeds shows only (S − 1)/S of their variance:
with two or three, the interval is rather too narrow than too wide.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from alambique.errors import DataError, IntegrityError
from alambique.tasks import Interval
from alambique.tasks.detect.evaluate import RESULTS, SCHEMA
from alambique.tasks.detect.ranking import Draw, Ranking, Truth, draw, mean_average_precision, rank, truth

RESAMPLES = 1000
LEVEL = 0.95
SEED = 0
"""Of the resampling itself: equal evaluations give equal intervals."""

Pair = tuple[Ranking, Ranking]


def gain(first: Sequence[Path], second: Sequence[Path]) -> Interval:
    """mAP50-95 of `first` minus that of `second`; see `alambique.tasks.Task.gain`.

    Raises:
        DataError: the evaluations are not about the same images, or these hold no true box.
        IntegrityError: an evaluation was written by another version.
    """
    tables = {folder: _table(folder) for folder in (*first, *second)}
    boxes = truth(tables[first[0]])
    _check(tables, boxes)
    pairs = [
        (rank(tables[one], boxes.classes), rank(tables[other], boxes.classes))
        for one, other in zip(first, second, strict=True)
    ]
    chance = np.random.default_rng(SEED)
    differences = [_resample(pairs, boxes, chance) for _ in range(RESAMPLES)]
    # A resample of images without any true box has no mAP; it is left out.
    low, high = np.nanquantile(differences, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    once = draw(boxes, np.ones(len(boxes.images), np.int64))
    value = np.mean([_difference(pair, once) for pair in pairs])
    return Interval(float(value), float(low), float(high), seeds=len(pairs), images=len(boxes.images))


def _resample(pairs: Sequence[Pair], boxes: Truth, chance: np.random.Generator) -> float:
    """The mean difference over seeds and images drawn with replacement."""
    images, seeds = (np.bincount(chance.integers(n, size=n), minlength=n) for n in (len(boxes.images), len(pairs)))
    drawn = draw(boxes, images)
    differences = [times * _difference(pair, drawn) for pair, times in zip(pairs, seeds, strict=True) if times]
    return float(np.sum(differences) / len(pairs))


def _difference(pair: Pair, drawn: Draw) -> float:
    return mean_average_precision(pair[0], drawn) - mean_average_precision(pair[1], drawn)


def _table(folder: Path) -> pa.Table:
    with pa.OSFile(str(folder / RESULTS)) as file:
        table = pa.ipc.open_file(file).read_all()
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
