"""Read a cache, memory-mapped; refuse one that is damaged, unfinished, or of another teacher or dataset."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import ValidationError

from alambique.errors import IntegrityError
from alambique.files import json_text, reading, sha256
from alambique.layout import SOFT_LABELS
from alambique.softlabels import schema
from alambique.softlabels.schema import Manifest, Recipe, Row, digest

AGAIN = "run the soft_labels stage again (`dvc repro soft_labels`)"

Kind = TypeVar("Kind", bound=Recipe[Any])


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
            recipe: that of today's data, teachers and parameters.
        Raises:
            IntegrityError: a shard is missing, surplus, unfinished or damaged, or was made by another recipe: from
                other samples, by another teacher, at another size.
        """
        manifests = _read_manifests(folder)
        _refuse_foreign(folder, manifests[0].recipe, recipe)
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


def read_recipe(folder: Path, kind: type[Kind]) -> Kind:
    """The recipe, of the task's class, of the cache below `folder`, without a check against today's recipe.

    Raises:
        IntegrityError: a shard is missing, surplus, unfinished or of another version, or the recipe is another task's.
    """
    try:
        return kind.model_validate(_read_manifests(folder)[0].recipe)
    except ValidationError:
        raise IntegrityError(f"soft labels in {folder} are another task's; {AGAIN}") from None


def open_cache(project: Path, kind: type[Kind]) -> tuple[Kind, Cache[Any]]:
    """How a project's cache was made, and the cache; IntegrityError if it is not pulled, unfinished or damaged."""
    recipe = read_recipe(project / SOFT_LABELS, kind)
    return recipe, Cache.open(project / SOFT_LABELS, recipe)


def _read_manifests(folder: Path) -> list[Manifest]:
    """The manifest of every shard below `folder`, by number: all of them, and all of one recipe."""
    # Names of unfinished folders of killed processes begin with a dot.
    shards = sorted(path for path in folder.glob("[!.]*") if path.is_dir())
    if not shards:
        raise IntegrityError(f"{folder} holds no soft labels; pull them (`dvc pull soft_labels`), or {AGAIN}")
    manifests = sorted((_read_manifest(shard) for shard in shards), key=lambda manifest: manifest.shard)
    _refuse_mixed(folder, manifests)
    return manifests


def _read_manifest(shard: Path) -> Manifest:
    path = shard / schema.MANIFEST
    try:
        content = path.read_bytes()
        manifest = Manifest.model_validate_json(content)
    except OSError as error:
        raise IntegrityError(f"cannot read {path}: {error.strerror}: the shard is unfinished; {AGAIN}") from None
    except ValidationError as error:
        raise IntegrityError(f"{path} is no manifest ({error.error_count()} errors); {AGAIN}") from None
    key = digest(manifest.recipe, manifest.columns)
    if (manifest.schema_version, manifest.key) != (schema.VERSION, key):
        raise IntegrityError(
            f"{path} has key {manifest.key[:12]} in version {manifest.schema_version}, but this code makes "
            f"{key[:12]} in version {schema.VERSION} of the same recipe; {AGAIN}"
        )
    if content != json_text(manifest.model_dump()).encode() or shard.name != str(manifest.shard):
        raise IntegrityError(f"{path} is not as the manifest of shard {manifest.shard} was written; {AGAIN}")
    return manifest


def _refuse_mixed(folder: Path, manifests: list[Manifest]) -> None:
    first = manifests[0]
    for manifest in manifests:
        for name in first.recipe | manifest.recipe:
            if (value := manifest.recipe.get(name)) != (expected := first.recipe.get(name)):
                raise IntegrityError(
                    f"shard {manifest.shard} in {folder} was made for {name} {value}, "
                    f"but shard {first.shard} for {expected}; {AGAIN}"
                )
    numbers = [manifest.shard for manifest in manifests]
    if numbers != list(range(first.shards)) or any(manifest.shards != first.shards for manifest in manifests):
        raise IntegrityError(
            f"{folder} holds shards {numbers} of {first.shards}; remove any that are too many, or pull those that are "
            f"missing (`dvc pull soft_labels`), or {AGAIN}"
        )


def _refuse_foreign(folder: Path, recipe: dict[str, Any], expected: Recipe[Any]) -> None:
    """Compare the recipe of a cache with the expected one; the message names the first part that differs."""
    today = expected.content()
    if recipe.keys() != today.keys():
        raise IntegrityError(f"soft labels in {folder} are another task's; {AGAIN}")
    for name, now in today.items():
        if (value := recipe[name]) != now:
            raise IntegrityError(f"soft labels in {folder} were made for {name} {value}, but now it is {now}; {AGAIN}")


def _read(path: Path, manifest: Manifest, layout: pa.Schema) -> list[Rows]:
    """The rows of one shard, with their order and finiteness checked, a batch at a time."""
    batches = [_rows(path, batch) for batch in _open_shard(path, manifest, layout)]
    for before, after in pairwise(sample for rows in batches for sample in rows.samples):
        if before >= after:
            raise IntegrityError(f"{path} is out of order: {before} is before {after}; {AGAIN}")
    for rows in batches:
        _refuse_infinite(path, rows)
    return batches


def _open_shard(path: Path, manifest: Manifest, layout: pa.Schema) -> list[pa.RecordBatch]:
    """Map a shard's file after checking its bytes against its manifest, then its types and its number of rows."""
    actual = sha256(path) if path.exists() else "missing"
    if actual != manifest.sha256:
        raise IntegrityError(
            f"{path} has sha256 {actual[:12]}, but its manifest says {manifest.sha256[:12]}: it was truncated or "
            f"changed; fetch it again (`dvc checkout --force`), or {AGAIN}"
        )
    with reading(path, AGAIN):  # its bytes are as its manifest says, and whose manifest it is, nobody knows
        return _batches(path, manifest, layout)


def _batches(path: Path, manifest: Manifest, layout: pa.Schema) -> list[pa.RecordBatch]:
    file = pa.ipc.open_file(pa.memory_map(str(path)))
    if file.schema != layout:
        raise IntegrityError(f"{path} has columns {file.schema.names} of other types than this version's; {AGAIN}")
    batches = [file.get_batch(index) for index in range(file.num_record_batches)]
    if (rows := sum(len(batch) for batch in batches)) != manifest.rows:
        raise IntegrityError(f"{path} holds {rows} samples, but its manifest says {manifest.rows}; {AGAIN}")
    for batch in batches:
        batch.validate(full=True)  # offsets that lead out of a column would read other memory
    return batches


def _rows(path: Path, batch: pa.RecordBatch) -> Rows:
    lists = [batch.column(name) for name in batch.schema.names[1:]]
    if any(not column.offsets.equals(lists[0].offsets) for column in lists):
        raise IntegrityError(f"{path} has samples with more items in one column than in another; {AGAIN}")
    columns = tuple(schema.items(column) for column in lists)
    return Rows(batch.column(schema.SAMPLE).to_pylist(), lists[0].offsets.to_numpy(), columns)


def _refuse_infinite(path: Path, rows: Rows) -> None:
    for values in rows.columns:
        if values.dtype.kind == "f" and not (finite := np.isfinite(values)).all():
            item = finite.reshape(len(values), -1).all(1).argmin()
            sample = rows.samples[int(np.searchsorted(rows.offsets, item, side="right")) - 1]
            raise IntegrityError(f"{path} holds numbers that are not finite for {sample}; {AGAIN}")
