"""What a shard of the cache holds: one row per sample, sorted by name, in an Arrow IPC file.

All columns but the name are lists, in each row equally long: they have an entry for each of the sample's items, which
are boxes, views or tokens, as the task has it. What has several numbers of an item holds them in fixed-size lists.
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
        items: by column, what it has of each item: a number, or a fixed-size list of them (`pa.list_(number, k)`).
    """
    columns = {SAMPLE: pa.string()} | {name: pa.list_(kind) for name, kind in items.items()}
    return pa.schema([pa.field(name, kind, nullable=False) for name, kind in columns.items()])
