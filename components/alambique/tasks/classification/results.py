"""What an evaluation keeps of each test sample: its class, and the likeliest ones that were found."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from alambique.errors import DataError, IntegrityError
from alambique.evaluation.measures import Resampled
from alambique.evaluation.paired_bootstrap import weights

RESULTS = "samples.arrow"
KEPT = 10
"""Classes of each sample, at most."""
SCHEMA = pa.schema(
    {
        "sample": pa.string(),  # its name in the dataset
        "truth": pa.int32(),  # index into the dataset's classes
        "classes": pa.list_(pa.int32()),  # the likeliest ones first
        "chances": pa.list_(pa.float32()),  # their probabilities
    }
)


class Answers(NamedTuple):
    """An evaluation's n samples.

    Attributes:
        samples: their names.
        truth: class indices, (n,).
        classes, chances: the k likeliest classes and their probabilities, (n, k).
    """

    samples: list[str]
    truth: NDArray[np.int32]
    classes: NDArray[np.int32]
    chances: NDArray[np.float32]

    @property
    def right(self) -> NDArray[np.bool_]:
        """Whether the likeliest class is the true one, (n,); never where a probability is no number."""
        found: NDArray[np.bool_] = (self.classes[:, 0] == self.truth) & np.isfinite(self.chances).all(axis=1)
        return found


def answers(samples: Sequence[str], truth: NDArray[np.integer], chances: NDArray[np.floating]) -> Answers:
    """Of all classes' probabilities, (n, classes), the likeliest; of equal ones the first."""
    order = np.argsort(-chances, axis=1, kind="stable")[:, :KEPT]
    return Answers(
        list(samples),
        truth.astype(np.int32),
        order.astype(np.int32),
        np.take_along_axis(chances, order, axis=1).astype(np.float32),
    )


def write(folder: Path, found: Answers) -> None:
    """Write samples.arrow, a row for each sample."""
    columns: list[Any] = [found.samples, found.truth, list(found.classes), list(found.chances)]
    arrays = [pa.array(values, field.type) for values, field in zip(columns, SCHEMA, strict=True)]
    with pa.OSFile(str(folder / RESULTS), "wb") as file, pa.ipc.new_file(file, SCHEMA) as writer:
        writer.write_table(pa.Table.from_arrays(arrays, schema=SCHEMA))


def read(folder: Path) -> Answers:
    """The results in a folder.

    Raises:
        IntegrityError: another version wrote them.
    """
    with pa.OSFile(str(folder / RESULTS)) as file:
        table = pa.ipc.open_file(file).read_all()
    if table.schema != SCHEMA:
        raise IntegrityError(
            f"{folder / RESULTS} has the columns {', '.join(table.schema.names)}, and should have "
            f"{', '.join(SCHEMA.names)}: another version wrote it; run the evaluate stages again (`dvc repro --force`)"
        )
    samples = table.column("sample").to_pylist()
    lists = (np.array(table.column(name).to_pylist()).reshape(len(samples), -1) for name in ("classes", "chances"))
    classes, chances = lists
    truth = table.column("truth").to_numpy().astype(np.int32)
    return Answers(samples, truth, classes.astype(np.int32), chances.astype(np.float32))


def resample(folders: Sequence[Path]) -> Resampled:
    """Top-1 accuracy of some evaluations; see `alambique.tasks.Task.resample`.

    Raises:
        DataError: they are not about the same samples.
        IntegrityError: another version wrote one.
    """
    found = {folder: read(folder) for folder in folders}
    reference, first = next(iter(found.items()))
    for folder, one in found.items():
        if one.samples != first.samples or (one.truth != first.truth).any():
            raise DataError(
                f"{folder} and {reference} were not evaluated on the same samples, so that their difference means "
                "nothing; evaluate both on today's data (`dvc repro`)"
            )
    count = len(first.samples)
    right = np.array([found[folder].right for folder in folders], np.float64)
    values = np.stack([right @ drawn for drawn in weights(count)], axis=1) / count
    return Resampled(values, count)
