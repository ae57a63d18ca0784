"""How far a difference in mAP50-95 can be trusted: a bootstrap paired over test images and training seeds.

Each resample draws test images with replacement, the same ones for every evaluation, so that what is hard for two
networks cancels out in their difference; and, where there are several, seeds with replacement. Estimated is the mean
gain of the recipe on images like these and, given several seeds, over the chance of a training; one seed says nothing
about the latter.

The two are crossed, since every seed's student sees every image; resampling each on its own is the pigeonhole bootstrap
(Owen 2007, The pigeonhole bootstrap, Annals of Applied Statistics 1(2)). The interval is the percentile one (Efron &
Tibshirani 1993, An Introduction to the Bootstrap, §13.3). Resampling S seeds shows only (S − 1)/S of their variance:
with two or three, the interval is rather too narrow than too wide.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from alambique.errors import DataError, IntegrityError
from alambique.tasks import Interval
from alambique.tasks.detect.evaluate import RESULTS, SCHEMA
from alambique.tasks.detect.ranking import Truth, draw, mean_average_precision, rank, truth

RESAMPLES = 1000
LEVEL = 0.95
SEED = 0
"""Of the resampling itself: equal evaluations give equal intervals."""


def intervals(evaluations: Mapping[str, Path], pairs: Collection[tuple[str, str]]) -> dict[tuple[str, str], Interval]:
    """mAP50-95 of the first of each pair minus that of the second; see `alambique.tasks.Task.intervals`.

    Raises:
        DataError: the evaluations are not about the same images, or these hold no true box.
        IntegrityError: an evaluation was written by another version.
    """
    if not pairs:
        return {}
    values, images = resample(list(evaluations.values()))
    named = dict(zip(evaluations, values, strict=True))
    return {(first, second): _interval(named[first] - named[second], 1, images) for first, second in pairs}


def gain(first: Sequence[Path], second: Sequence[Path]) -> Interval:
    """mAP50-95 of `first` minus that of `second`; see `alambique.tasks.Task.gain`.

    Raises:
        as `intervals`.
    """
    seeds = len(first)
    values, images = resample([*first, *second])
    differences = values[:seeds] - values[seeds:]
    chance = np.random.default_rng([SEED, 1])  # another stream than that of the images
    times = chance.multinomial(seeds, [1 / seeds] * seeds, size=RESAMPLES)
    drawn = np.vstack([np.ones(seeds), times])  # as they are, then as each resample draws them
    return _interval((differences * drawn.T).sum(axis=0) / seeds, seeds, images)


def headline(folder: Path) -> Interval:
    """mAP50-95 of one evaluation; see `alambique.tasks.Task.headline`.

    Raises:
        as `intervals`.
    """
    values, images = resample([folder])
    return _interval(values[0], 1, images)


def resample(folders: Sequence[Path]) -> tuple[NDArray[np.float64], int]:
    """mAP50-95 on the test images as they are, then on `RESAMPLES` resamples of them.

    A resample depends on how many images there are, and on nothing else.

    Args:
        folders: e evaluations.
    Returns:
        (e, 1 + RESAMPLES), NaN where a resample holds no true box; and the number of test images.
    Raises:
        as `intervals`.
    """
    tables = [_table(folder) for folder in folders]
    boxes = truth(tables[0])
    _check(dict(zip(folders, tables, strict=True)), boxes)
    rankings = [rank(table, boxes.classes) for table in tables]
    chance, images = np.random.default_rng(SEED), len(boxes.images)
    values = np.empty((len(folders), 1 + RESAMPLES))
    for place in range(1 + RESAMPLES):
        weights = np.bincount(chance.integers(images, size=images), minlength=images) if place else np.ones(images, int)
        drawn = draw(boxes, weights)
        values[:, place] = [mean_average_precision(ranking, drawn) for ranking in rankings]
    return values, images


def _interval(differences: NDArray[np.float64], seeds: int, images: int) -> Interval:
    """Of a difference on the images as they are, followed by those on each resample."""
    # A resample of images without any true box has no mAP; it is left out.
    low, high = np.nanquantile(differences[1:], [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(differences[0]), float(low), float(high), seeds, images)


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
