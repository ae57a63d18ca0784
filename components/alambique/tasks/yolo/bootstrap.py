"""mAP50-95 on resamples of the test images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from alambique.errors import DataError, IntegrityError
from alambique.evaluation.measures import Resampled
from alambique.evaluation.paired_bootstrap import weights
from alambique.tasks.yolo.evaluate import RESULTS, SCHEMA
from alambique.tasks.yolo.weighted_ap import Truth, draw, mean_average_precision, rank, truth


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
    drawn = (draw(boxes, counts) for counts in weights(images))
    values = [[mean_average_precision(ranking, resample) for ranking in rankings] for resample in drawn]
    return Resampled(np.array(values).T, images)


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
