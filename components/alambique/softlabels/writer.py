"""Write a shard of soft labels in bounded memory, however many samples it covers."""

from __future__ import annotations

import os
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa

from alambique.errors import PermanentError
from alambique.files import sha256, write_json
from alambique.softlabels import schema
from alambique.softlabels.schema import Manifest, Recipe, Row

BATCH = 256
"""Samples held in memory at a time; a reader maps whole batches."""


def write(folder: Path, samples: Iterable[Row], recipe: Recipe[Row], shard: int, shards: int) -> Manifest:
    """Write soft_labels.arrow, then manifest.json, into `folder`.

    Args:
        folder: an existing, empty folder.
        samples: the shard's soft labels, sorted by name; consumed once, batch by batch.
        shard, shards: which of how many.
    Raises:
        PermanentError: a teacher's output is not finite; the message names the sample.
    """
    path = folder / schema.SHARD
    layout = recipe.layout()
    count = 0
    with path.open("wb") as file:
        with pa.ipc.new_file(file, layout) as sink:
            remaining = iter(samples)
            while batch := list(islice(remaining, BATCH)):
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


def _record(batch: list[Row], layout: pa.Schema) -> pa.RecordBatch:
    for row in batch:
        if not all(np.isfinite(values).all() for values in row[1:]):
            raise PermanentError(
                f"the teacher gives numbers that are not finite for {row[0]}; "
                "train it again, with a lower training.learning_rate"
            )
    names, *columns = zip(*batch, strict=True)
    lists = [schema.list_column(values, kind) for values, kind in zip(columns, layout.types[1:], strict=True)]
    return pa.RecordBatch.from_arrays([pa.array(names, layout.types[0]), *lists], schema=layout)
