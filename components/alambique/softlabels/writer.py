"""Write a shard of soft labels in bounded memory, however many samples it covers."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from alambique.errors import PermanentError
from alambique.files import sha256, write_json
from alambique.softlabels import schema
from alambique.softlabels.key import Manifest, Recipe, Row

BATCH = 256
"""Samples held in memory at a time; a reader maps whole batches."""


def write(folder: Path, samples: Iterable[Row], recipe: Recipe[Row], shard: int, shards: int) -> Manifest:
    """Write soft_labels.arrow, then manifest.json, into `folder`.

    Args:
        folder: an existing, empty folder.
        samples: the shard's soft labels, sorted by name; consumed once, batch by batch.
        recipe: of the soft labels.
        shard, shards: which of how many.
    Raises:
        PermanentError: a teacher's output is not finite; the message names the sample.
    """
    path = folder / schema.SHARD
    layout = recipe.layout()
    count = 0
    with path.open("wb") as file:
        with pa.ipc.new_file(file, layout) as sink:
            for batch in _batches(iter(samples)):
                sink.write_batch(_record(batch, layout))
                count += len(batch)
        file.flush()
        os.fsync(file.fileno())  # before the manifest is written
    manifest = Manifest(
        recipe=recipe.content(),
        columns=str(layout),
        schema_version=schema.VERSION,
        key=recipe.digest(),
        shard=shard,
        shards=shards,
        rows=count,
        sha256=sha256(path),
    )
    write_json(folder / schema.MANIFEST, manifest.model_dump())
    return manifest


def _batches(samples: Iterator[Row]) -> Iterator[list[Row]]:
    while batch := list(islice(samples, BATCH)):
        yield batch


def _record(batch: list[Row], layout: pa.Schema) -> pa.RecordBatch:
    for row in batch:
        if not all(np.isfinite(values).all() for values in row[1:]):
            raise PermanentError(
                f"the teacher gives numbers that are not finite for {row[0]}; "
                "train it again, with a lower training.learning_rate"
            )
    columns = [_column(field.type, values) for field, values in zip(layout, zip(*batch, strict=True), strict=True)]
    return pa.RecordBatch.from_arrays(columns, schema=layout)


def _column(kind: pa.DataType, values: Sequence[Any]) -> pa.Array:
    """A column of one name, or of one array over the items, per row."""
    if not pa.types.is_list(kind):
        return pa.array(values, kind)
    offsets = pa.array(np.cumsum([0] + [len(array) for array in values]), pa.int32())
    return pa.ListArray.from_arrays(offsets, _items(kind.value_type, np.concatenate(values)), type=kind)


def _items(kind: pa.DataType, values: NDArray[Any]) -> pa.Array:
    if pa.types.is_fixed_size_list(kind):
        if values.shape[1:] != (kind.list_size,):  # Arrow would accept them, shifted
            raise ValueError(f"{values.shape[1:]} numbers of an item, but the recipe's layout has {kind.list_size}")
        return pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1), kind.value_type), type=kind)
    return pa.array(values, kind)
