"""Read the cache, memory-mapped, and refuse what is damaged, unfinished, or of another teacher or dataset."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from alambique.errors import IntegrityError
from alambique.softlabels import schema
from alambique.softlabels.key import Manifest, Recipe
from alambique.softlabels.schema import SoftLabels
from alambique.softlabels.shards import AGAIN, open_shard, read_manifests, refuse_foreign


class Rows(NamedTuple):
    """A record batch as arrays over the mapped file: nothing of it is read before it is used.

    Attributes:
        images: the rows' paths inside data/images, n of them.
        offsets: row i has the boxes from offsets[i] up to offsets[i + 1], (n + 1,).
        columns: boxes, logits, classes and scores of all rows, each (boxes,) or (boxes, …).
    """

    images: list[str]
    offsets: NDArray[np.int32]
    columns: tuple[NDArray[Any], ...]


class Cache(Mapping[str, SoftLabels]):
    """All soft labels, by the image's path inside data/images; an image is decoded when it is asked for.

    Attributes:
        recipe: of every shard.
    """

    def __init__(self, recipe: Recipe, batches: list[Rows]) -> None:
        self.recipe = recipe
        self._places = {image: (rows, index) for rows in batches for index, image in enumerate(rows.images)}

    @classmethod
    def open(cls, folder: Path, recipe: Recipe) -> Self:
        """Open every shard below `folder`, each checked to the last byte.

        Args:
            folder: of the shards' folders.
            recipe: what they have to be made by, as things are now.
        Raises:
            IntegrityError: a shard is missing, surplus, unfinished or damaged, or was made by another recipe: from
                other images, by another teacher, at another size.
        """
        manifests = read_manifests(folder)
        refuse_foreign(folder, manifests[0].recipe, recipe)
        batches: list[Rows] = []
        for manifest in manifests:
            batches += _read(folder / str(manifest.shard) / schema.SHARD, manifest)
        cache = cls(recipe, batches)
        if len(cache) != (rows := sum(manifest.rows for manifest in manifests)):
            raise IntegrityError(
                f"{folder} holds {rows} rows for {len(cache)} images: some stand in two shards; {AGAIN}"
            )
        return cache

    def __getitem__(self, image: str) -> SoftLabels:
        rows, index = self._places[image]
        start, stop = rows.offsets[index : index + 2]
        return SoftLabels(image, *(column[start:stop] for column in rows.columns))

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def _read(path: Path, manifest: Manifest) -> list[Rows]:
    """The rows of one shard, after a look at their order and their numbers, whole batches at a time."""
    batches = [_rows(path, batch) for batch in open_shard(path, manifest)]
    for before, after in pairwise(image for rows in batches for image in rows.images):
        if before >= after:
            raise IntegrityError(f"{path} is out of order: {before} stands before {after}; {AGAIN}")
    for rows in batches:
        _refuse_infinite(path, rows)
    return batches


def _rows(path: Path, batch: pa.RecordBatch) -> Rows:
    lists = [batch.column(name) for name in SoftLabels._fields[1:]]
    if any(not column.offsets.equals(lists[0].offsets) for column in lists):
        raise IntegrityError(f"{path} has images with more boxes in one column than in another; {AGAIN}")
    columns = tuple(_values(column.values) for column in lists)
    return Rows(batch.column("image").to_pylist(), lists[0].offsets.to_numpy(), columns)


def _values(boxes: pa.Array) -> NDArray[Any]:
    """What a column has of every box: a number, (boxes,), or a fixed-size list of them, (boxes, …)."""
    if not pa.types.is_fixed_size_list(boxes.type):
        return np.asarray(boxes.to_numpy())
    return np.asarray(boxes.values.to_numpy()).reshape(-1, boxes.type.list_size)


def _refuse_infinite(path: Path, rows: Rows) -> None:
    for values in rows.columns:
        if not (finite := np.isfinite(values)).all():
            box = finite.reshape(len(values), -1).all(1).argmin()
            image = rows.images[int(np.searchsorted(rows.offsets, box, side="right")) - 1]
            raise IntegrityError(f"{path} holds numbers that are not finite for {image}; {AGAIN}")
