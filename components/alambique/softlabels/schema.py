"""The columns of a shard: one row per sample, sorted by name, in an Arrow IPC file.

All columns but the name are lists of equal length in a row: one entry for each of the sample's items, which are boxes,
views or tokens. Several numbers for an item are a fixed-size list.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

VERSION = 4
SHARD = "soft_labels.arrow"
MANIFEST = "manifest.json"
SAMPLE = "sample"
"""The first column: the samples' names."""


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
