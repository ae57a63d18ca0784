"""Write a shard of soft labels in bounded memory, however many images it covers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa

from alambique.errors import PermanentError
from alambique.files import sha256, write_json
from alambique.softlabels import schema
from alambique.softlabels.key import Manifest, Recipe
from alambique.softlabels.schema import SoftLabels

BATCH = 256
"""Images held in memory at a time; a reader maps whole batches."""


def write(folder: Path, images: Iterable[SoftLabels], recipe: Recipe, shard: int, shards: int) -> Manifest:
    """Write soft_labels.arrow, then manifest.json, into `folder`.

    Args:
        folder: an existing, empty folder.
        images: the shard's soft labels, sorted by path; consumed once, batch by batch.
        recipe: how they were made.
        shard, shards: which of how many.
    Raises:
        PermanentError: the teacher gave a number that is not finite; the message names the image.
    """
    path = folder / schema.SHARD
    layout = schema.rows(recipe.width)
    count = 0
    with path.open("wb") as file, pa.ipc.new_file(file, layout) as sink:
        for batch in _batches(iter(images)):
            sink.write_batch(_record(batch, layout))
            count += len(batch)
    manifest = Manifest(
        **recipe.model_dump(),
        schema_version=schema.VERSION,
        key=recipe.digest(),
        shard=shard,
        shards=shards,
        rows=count,
        sha256=sha256(path),
    )
    write_json(folder / schema.MANIFEST, manifest.model_dump())
    return manifest


def _batches(images: Iterator[SoftLabels]) -> Iterator[list[SoftLabels]]:
    while batch := list(islice(images, BATCH)):
        yield batch


def _record(batch: list[SoftLabels], layout: pa.Schema) -> pa.RecordBatch:
    for image in batch:
        if not all(np.isfinite(values).all() for values in (image.boxes, image.logits, image.scores)):
            raise PermanentError(
                f"the teacher gives numbers that are not finite for {image.image}; "
                "train it again, with a lower training.learning_rate"
            )
    offsets = pa.array(np.cumsum([0] + [len(image.boxes) for image in batch]), pa.int32())
    columns = [pa.array([image.image for image in batch], pa.string())]
    for field in list(layout)[1:]:
        values = np.concatenate([getattr(image, field.name) for image in batch])
        flat = pa.array(values.reshape(-1))
        if pa.types.is_fixed_size_list(field.type.value_type):
            flat = pa.FixedSizeListArray.from_arrays(flat, field.type.value_type.list_size)
        columns.append(pa.ListArray.from_arrays(offsets, flat).cast(field.type))
    return pa.RecordBatch.from_arrays(columns, schema=layout)
