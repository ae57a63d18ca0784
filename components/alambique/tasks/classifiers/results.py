"""The file of an evaluation's predictions: each test sample's label and its likeliest classes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

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
        "label": pa.int32(),  # index into the dataset's classes
        "classes": pa.list_(pa.int32()),  # the likeliest ones first
        "probabilities": pa.list_(pa.float32()),  # theirs
    }
)


class Predictions(NamedTuple):
    """A network's predictions for n samples.

    Attributes:
        samples: their names.
        labels: class indices, (n,).
        classes, probabilities: the k likeliest classes and their probabilities, descending, (n, k).
    """

    samples: list[str]
    labels: NDArray[np.int32]
    classes: NDArray[np.int32]
    probabilities: NDArray[np.float32]

    @property
    def correct(self) -> NDArray[np.bool_]:
        """Whether the likeliest class is the label, (n,); never where a probability is not finite."""
        correct: NDArray[np.bool_] = (self.classes[:, 0] == self.labels) & np.isfinite(self.probabilities).all(axis=1)
        return correct


def top_classes(
    samples: Sequence[str], labels: NDArray[np.integer], probabilities: NDArray[np.floating]
) -> Predictions:
    """The `KEPT` likeliest of all classes, of equal ones the first, from probabilities, (n, classes)."""
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, :KEPT]
    return Predictions(
        list(samples),
        labels.astype(np.int32),
        order.astype(np.int32),
        np.take_along_axis(probabilities, order, axis=1).astype(np.float32),
    )


def write(folder: Path, predictions: Predictions) -> None:
    """Write samples.arrow, a row for each sample."""
    samples, labels, classes, probabilities = predictions
    write_table(folder / RESULTS, pa.table([samples, labels, list(classes), list(probabilities)], schema=SCHEMA))


def read(folder: Path) -> Predictions:
    """The predictions in an evaluation's folder; IntegrityError if another version wrote them."""
    table = read_table(folder / RESULTS, SCHEMA.names)
    samples = table.column("sample").to_pylist()
    classes, probabilities = (
        np.array(table.column(name).to_pylist()).reshape(len(samples), -1) for name in ("classes", "probabilities")
    )
    labels = table.column("label").to_numpy().astype(np.int32)
    return Predictions(samples, labels, classes.astype(np.int32), probabilities.astype(np.float32))


def write_table(path: Path, table: pa.Table) -> None:
    """Write an Arrow IPC file."""
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)


def read_table(path: Path, columns: Sequence[str]) -> pa.Table:
    """The content of an Arrow IPC file; IntegrityError if it has other columns."""
    with pa.OSFile(str(path)) as file:
        table = pa.ipc.open_file(file).read_all()
    if table.schema.names != list(columns):
        raise IntegrityError(
            f"{path} has the columns {', '.join(table.schema.names)}, and should have {', '.join(columns)}: another "
            "version wrote it; run the evaluate stages again (`dvc repro --force`)"
        )
    return table


def require_same(folders: Sequence[Path], samples: Sequence[object]) -> None:
    """Refuse with a DataError to compare evaluations of other samples: of other names, or what else has to be equal."""
    for folder, evaluated in zip(folders, samples, strict=True):
        if evaluated != samples[0]:
            raise DataError(
                f"{folder} and {folders[0]} were not evaluated on the same samples, so that their difference means "
                "nothing; evaluate both on today's data (`dvc repro`)"
            )


def resample(folders: Sequence[Path]) -> Resampled:
    """Top-1 accuracy of some evaluations; see `alambique.tasks.Task.resample`."""
    evaluations = [read(folder) for folder in folders]
    require_same(folders, [(predictions.samples, predictions.labels.tolist()) for predictions in evaluations])
    count = len(evaluations[0].samples)
    correct = np.array([predictions.correct for predictions in evaluations], np.float64)
    values = np.stack([correct @ drawn for drawn in weights(count)], axis=1) / count
    return Resampled(values, count)
