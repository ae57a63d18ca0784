"""The columns of a shard: one row per sample, sorted by name, in an Arrow IPC file.

All columns but the name are lists of equal length in a row: one entry for each of the sample's items, which are boxes,
views or tokens. Several numbers for an item are a fixed-size list.
"""

from __future__ import annotations

import pyarrow as pa

VERSION = 4
SHARD = "soft_labels.arrow"
MANIFEST = "manifest.json"
SAMPLE = "sample"
"""The first column: the samples' names."""


def rows(**items: pa.DataType) -> pa.Schema:
    """The Arrow schema of a shard.

    Args:
        items: by column, the type of an item's entry: a number, or a fixed-size list of them (`pa.list_(number, k)`).
    """
    columns = {SAMPLE: pa.string()} | {name: pa.list_(kind) for name, kind in items.items()}
    return pa.schema([pa.field(name, kind, nullable=False) for name, kind in columns.items()])
