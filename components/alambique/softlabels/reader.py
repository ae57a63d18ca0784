"""Read the cache, memory-mapped, and refuse what is damaged, unfinished, or of another teacher or dataset."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from alambique.errors import IntegrityError
from alambique.softlabels import schema
from alambique.softlabels.key import BoxesRecipe, Manifest, ViewsRecipe
from alambique.softlabels.schema import Row, SoftLabels, SoftViews
from alambique.softlabels.shards import AGAIN, open_shard, read_manifests, refuse_foreign

Kind = TypeVar("Kind", bound=Row)


class Ragged(NamedTuple):
    """A column of arrays that differ in length.

    Attributes:
        offsets: row i has the values from offsets[i] up to offsets[i + 1], (n + 1,).
        values: of all rows, (boxes,) or (boxes, …).
    """

    offsets: NDArray[np.int32]
    values: NDArray[Any]

    def take(self, index: int) -> NDArray[Any]:
        start, stop = self.offsets[index : index + 2]
        return self.values[start:stop]

    def row_of(self, place: int) -> int:
        return int(np.searchsorted(self.offsets, place, side="right")) - 1


class Even(NamedTuple):
    """A column of arrays of one shape.

    Attributes:
        values: of all rows, (n, …).
    """

    values: NDArray[Any]

    def take(self, index: int) -> NDArray[Any]:
        array: NDArray[Any] = self.values[index]
        return array

    def row_of(self, place: int) -> int:
        return place


class Rows(NamedTuple):
    """A record batch as arrays over the mapped file: nothing of it is read before it is used.

    Attributes:
        kind: makes a row of its fields.
        images: the rows' paths inside data/images, n of them.
        columns: the others, in the order of the row's fields.
    """

    kind: Callable[..., Any]
    images: list[str]
    columns: tuple[Ragged | Even, ...]


class Cache(Mapping[str, Kind]):
    """All soft labels, by the image's path inside data/images; an image is decoded when it is asked for.

    Attributes:
        recipe: of every shard; its kind says what an image's soft labels are, `SoftLabels` or `SoftViews`.
    """

    def __init__(self, recipe: BoxesRecipe | ViewsRecipe, batches: list[Rows]) -> None:
        self.recipe = recipe
        self._places = {image: (rows, index) for rows in batches for index, image in enumerate(rows.images)}

    @classmethod
    def open(cls, folder: Path, recipe: BoxesRecipe | ViewsRecipe) -> Cache[Any]:
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

    def __getitem__(self, image: str) -> Kind:
        rows, index = self._places[image]
        row: Kind = rows.kind(image, *(column.take(index) for column in rows.columns))
        return row

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def _read(path: Path, manifest: Manifest) -> list[Rows]:
    """The rows of one shard, after a look at their order and their numbers, whole batches at a time."""
    kind = SoftLabels if isinstance(manifest.recipe, BoxesRecipe) else SoftViews
    batches = [_rows(path, kind, batch) for batch in open_shard(path, manifest)]
    for before, after in pairwise(image for rows in batches for image in rows.images):
        if before >= after:
            raise IntegrityError(f"{path} is out of order: {before} stands before {after}; {AGAIN}")
    for rows in batches:
        _refuse_infinite(path, rows)
    return batches


def _rows(path: Path, kind: type[Row], batch: pa.RecordBatch) -> Rows:
    columns = tuple(_column(batch.column(name)) for name in kind._fields[1:])
    offsets = [column.offsets for column in columns if isinstance(column, Ragged)]
    if any(not np.array_equal(each, offsets[0]) for each in offsets):
        raise IntegrityError(f"{path} has images with more boxes in one column than in another; {AGAIN}")
    return Rows(kind, batch.column("image").to_pylist(), columns)


def _column(column: pa.Array) -> Ragged | Even:
    if pa.types.is_list(column.type):
        return Ragged(column.offsets.to_numpy(), _values(column.values))
    return Even(_values(column))


def _values(column: pa.Array) -> NDArray[Any]:
    """A column's numbers, with an axis for each fixed-size list that holds them."""
    shape: list[int] = []
    while pa.types.is_fixed_size_list(column.type):
        shape.append(column.type.list_size)
        column = column.values
    return np.asarray(column.to_numpy()).reshape(-1, *shape)


def _refuse_infinite(path: Path, rows: Rows) -> None:
    for column in rows.columns:
        if not (finite := np.isfinite(column.values)).all():
            place = finite.reshape(len(column.values), -1).all(1).argmin()
            image = rows.images[column.row_of(int(place))]
            raise IntegrityError(f"{path} holds numbers that are not finite for {image}; {AGAIN}")
