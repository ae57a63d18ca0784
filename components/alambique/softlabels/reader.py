"""Read a cache, memory-mapped; refuse one that is damaged, unfinished, or of another teacher or dataset."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, Generic, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from alambique.errors import IntegrityError
from alambique.softlabels import schema
from alambique.softlabels.key import Manifest, Recipe, Row
from alambique.softlabels.shards import AGAIN, open_shard, read_manifests, refuse_foreign


class Rows(NamedTuple):
    """A record batch as arrays over the mapped file; pages are read when they are used.

    Attributes:
        samples: the rows' names, n of them.
        offsets: row i has the items from offsets[i] up to offsets[i + 1], (n + 1,).
        columns: each column's entries for all rows' items, (items,) or (items, …).
    """

    samples: list[str]
    offsets: NDArray[np.int32]
    columns: tuple[NDArray[Any], ...]


class Cache(Mapping[str, Row], Generic[Row]):
    """All soft labels by the sample's name; a row is decoded when it is accessed."""

    def __init__(self, row: Callable[..., Row], batches: list[Rows]) -> None:
        self._row = row
        self._places = {sample: (rows, index) for rows in batches for index, sample in enumerate(rows.samples)}

    @classmethod
    def open(cls, folder: Path, recipe: Recipe[Row]) -> Cache[Row]:
        """Open every shard below `folder`, each checked to the last byte.

        Args:
            folder: of the shards' folders.
            recipe: that of today's data, teachers and parameters.
        Raises:
            IntegrityError: a shard is missing, surplus, unfinished or damaged, or was made by another recipe: from
                other samples, by another teacher, at another size.
        """
        manifests = read_manifests(folder)
        refuse_foreign(folder, manifests[0].recipe, recipe)
        batches: list[Rows] = []
        for manifest in manifests:
            batches += _read(folder / str(manifest.shard) / schema.SHARD, manifest, recipe.layout())
        cache = cls(recipe.row, batches)
        if len(cache) != (rows := sum(manifest.rows for manifest in manifests)):
            raise IntegrityError(
                f"{folder} holds {rows} rows for {len(cache)} samples: some are in two shards; {AGAIN}"
            )
        return cache

    def __getitem__(self, sample: str) -> Row:
        rows, index = self._places[sample]
        items = slice(rows.offsets[index], rows.offsets[index + 1])
        return self._row(sample, *[column[items] for column in rows.columns])

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def _read(path: Path, manifest: Manifest, layout: pa.Schema) -> list[Rows]:
    """The rows of one shard, with their order and finiteness checked, a batch at a time."""
    batches = [_rows(path, batch) for batch in open_shard(path, manifest, layout)]
    for before, after in pairwise(sample for rows in batches for sample in rows.samples):
        if before >= after:
            raise IntegrityError(f"{path} is out of order: {before} is before {after}; {AGAIN}")
    for rows in batches:
        _refuse_infinite(path, rows)
    return batches


def _rows(path: Path, batch: pa.RecordBatch) -> Rows:
    lists = [batch.column(name) for name in batch.schema.names[1:]]
    if any(not column.offsets.equals(lists[0].offsets) for column in lists):
        raise IntegrityError(f"{path} has samples with more items in one column than in another; {AGAIN}")
    columns = tuple(_values(column.values) for column in lists)
    return Rows(batch.column(schema.SAMPLE).to_pylist(), lists[0].offsets.to_numpy(), columns)


def _values(items: pa.Array) -> NDArray[Any]:
    """A column's entries for all items: numbers, (items,), or fixed-size lists of them, (items, …)."""
    if not pa.types.is_fixed_size_list(items.type):
        return np.asarray(items.to_numpy())
    return np.asarray(items.values.to_numpy()).reshape(-1, items.type.list_size)


def _refuse_infinite(path: Path, rows: Rows) -> None:
    for values in rows.columns:
        if values.dtype.kind == "f" and not (finite := np.isfinite(values)).all():
            item = finite.reshape(len(values), -1).all(1).argmin()
            sample = rows.samples[int(np.searchsorted(rows.offsets, item, side="right")) - 1]
            raise IntegrityError(f"{path} holds numbers that are not finite for {sample}; {AGAIN}")
