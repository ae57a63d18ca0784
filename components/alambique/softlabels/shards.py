"""Read the shards of a cache, and refuse those that do not match their manifests."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
from pydantic import ValidationError

from alambique.errors import IntegrityError
from alambique.files import json_text, sha256
from alambique.softlabels import schema
from alambique.softlabels.key import Manifest, Recipe, digest

AGAIN = "run the soft_labels stage again (`dvc repro soft_labels`)"

Kind = TypeVar("Kind", bound=Recipe[Any])


def read_manifests(folder: Path) -> list[Manifest]:
    """The manifest of every shard below `folder`, by number: all of them, and all of one recipe.

    Raises:
        IntegrityError: a shard is missing, surplus, unfinished, of another version, or made by another recipe.
    """
    # Names of unfinished folders of killed processes begin with a dot.
    shards = sorted(path for path in folder.glob("[!.]*") if path.is_dir())
    if not shards:
        raise IntegrityError(f"{folder} holds no soft labels; pull them (`dvc pull soft_labels`), or {AGAIN}")
    manifests = sorted((_read_manifest(shard) for shard in shards), key=lambda manifest: manifest.shard)
    _refuse_mixed(folder, manifests)
    return manifests


def read_recipe(folder: Path, kind: type[Kind]) -> Kind:
    """The recipe of the cache below `folder`, without a check against today's recipe.

    Args:
        folder: of the shards' folders.
        kind: the task's class of recipes.
    Raises:
        IntegrityError: see `read_manifests`; or it is another task's.
    """
    try:
        return kind.model_validate(read_manifests(folder)[0].recipe)
    except ValidationError:
        raise IntegrityError(f"soft labels in {folder} are another task's; {AGAIN}") from None


def refuse_foreign(folder: Path, recipe: dict[str, Any], expected: Recipe[Any]) -> None:
    """Compare the recipe of a cache with the expected one.

    Raises:
        IntegrityError: the recipes differ; the message names the first part that does.
    """
    today = expected.content()
    if recipe.keys() != today.keys():
        raise IntegrityError(f"soft labels in {folder} are another task's; {AGAIN}")
    for name, now in today.items():
        if (value := recipe[name]) != now:
            raise IntegrityError(f"soft labels in {folder} were made for {name} {value}, but now it is {now}; {AGAIN}")


def open_shard(path: Path, manifest: Manifest, layout: pa.Schema) -> list[pa.RecordBatch]:
    """Map a shard's file after checking its bytes against its manifest, then its types and its number of rows.

    Args:
        path: of the file.
        manifest: of its folder.
        layout: the columns that it must have.
    Raises:
        IntegrityError: it is missing, or any of these differs.
    """
    digest = sha256(path) if path.exists() else "missing"
    if digest != manifest.sha256:
        raise IntegrityError(
            f"{path} has sha256 {digest[:12]}, but its manifest says {manifest.sha256[:12]}: it was truncated or "
            f"changed; fetch it again (`dvc checkout --force`), or {AGAIN}"
        )
    file = pa.ipc.open_file(pa.memory_map(str(path)))
    if file.schema != layout:
        raise IntegrityError(f"{path} has columns {file.schema.names} of other types than this version's; {AGAIN}")
    batches = [file.get_batch(index) for index in range(file.num_record_batches)]
    if (rows := sum(len(batch) for batch in batches)) != manifest.rows:
        raise IntegrityError(f"{path} holds {rows} samples, but its manifest says {manifest.rows}; {AGAIN}")
    return batches


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
