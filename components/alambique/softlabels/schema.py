"""The columns of a shard, and the recipe whose digest is the key of a cache: equal keys, interchangeable caches.

A shard is an Arrow IPC file of one row per sample, sorted by name. All columns but the name are lists of equal length
in a row: one entry for each of the sample's items, which are boxes, views or tokens. Several numbers for an item are a
fixed-size list.
"""

from __future__ import annotations

import hashlib
import json
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

VERSION = 4
SHARD = "soft_labels.arrow"
MANIFEST = "manifest.json"
SAMPLE = "sample"
"""The first column: the samples' names."""
Row = TypeVar("Row", bound=tuple[Any, ...])
"""A task's named tuple of one sample: its name, then the columns of the recipe's layout, in order."""


def rows(**items: pa.DataType) -> pa.Schema:
    """The Arrow schema of a shard, from each column's type of an item: a number, or `pa.list_(number, k)`."""
    columns = {SAMPLE: pa.string()} | {name: pa.list_(kind) for name, kind in items.items()}
    return pa.schema([pa.field(name, kind, nullable=False) for name, kind in columns.items()])


def list_column(values: Sequence[NDArray[Any]], kind: pa.DataType) -> pa.Array:
    """A column of lists of numbers or fixed-size lists, from each row's array of items, (items,) or (items, k)."""
    offsets = pa.array(np.cumsum([0] + [len(array) for array in values]), pa.int32())
    joined, entry = np.concatenate(values), kind.value_type
    if not pa.types.is_fixed_size_list(entry):
        return pa.ListArray.from_arrays(offsets, pa.array(joined, entry), type=kind)
    if joined.shape[1:] != (entry.list_size,):  # Arrow would accept them, shifted
        raise ValueError(f"{joined.shape[1:]} numbers of an item, but the recipe's layout has {entry.list_size}")
    entries = pa.FixedSizeListArray.from_arrays(pa.array(joined.reshape(-1), entry.value_type), type=entry)
    return pa.ListArray.from_arrays(offsets, entries, type=kind)


def items(column: pa.ListArray) -> NDArray[Any]:
    """A column's entries for the items of all rows: numbers, (items,), or fixed-size lists of them, (items, k)."""
    entries = column.values
    if pa.types.is_fixed_size_list(entries.type):
        return np.asarray(entries.values.to_numpy()).reshape(-1, entries.type.list_size)
    return np.asarray(entries.to_numpy(zero_copy_only=False))  # booleans are bits in Arrow


class Recipe(BaseModel, Generic[Row]):
    """Everything that soft labels depend on; each task adds its own settings and columns.

    Attributes:
        teachers: SHA-256 of each teacher's weights, in the order of params.yaml.
        combine: how several teachers' outputs are combined.
        data: digests of the splits with soft labels.
        preprocessing: description of how a sample becomes a teacher's input.
        top_k: classes or tokens kept for each item, at most; see `topk`.
        classes: their names, in index order; none if the task has no classes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    teachers: list[str]
    combine: str
    data: dict[str, str]
    preprocessing: dict[str, Any]
    top_k: int
    classes: list[str]

    @abstractmethod
    def layout(self) -> pa.Schema:
        """The columns of a shard, made by `rows`."""

    @property
    @abstractmethod
    def row(self) -> Callable[..., Row]:
        """The class of its rows."""

    def content(self) -> dict[str, Any]:
        """The recipe as JSON, as in a manifest."""
        return self.model_dump(mode="json")

    def digest(self) -> str:
        """The key of a cache made by this recipe."""
        return digest(self.content(), str(self.layout()))


class Manifest(BaseModel):
    """manifest.json of a shard, written last: a shard without one is unfinished.

    Attributes:
        recipe: `Recipe.content`, of any task.
        columns: names and types of the shard's columns, as text.
        schema_version: of the code that wrote it.
        key: the recipe's digest.
        shard, shards: which of how many.
        rows: samples in this shard.
        sha256: of the shard's file.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    recipe: dict[str, Any]
    columns: str
    schema_version: int
    key: str
    shard: int
    shards: int
    rows: int
    sha256: str


def digest(recipe: Mapping[str, Any], columns: str) -> str:
    """SHA-256 over a recipe's content, the schema's version and the columns."""
    content = {**recipe, "schema": VERSION, "rows": columns}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
