"""The shards of a cache: refused when they are not what their manifests promise."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
from pydantic import ValidationError

from alambique.errors import IntegrityError
from alambique.files import json_text, sha256
from alambique.softlabels import schema
from alambique.softlabels.key import Manifest, Recipe

AGAIN = "run the soft_labels stage again (`dvc repro soft_labels`)"


def read_manifests(folder: Path) -> list[Manifest]:
    """The manifest of every shard below `folder`, by number: all of them, and all of one recipe.

    Raises:
        IntegrityError: a shard is missing, surplus, unfinished, of another version, or made by another recipe.
    """
    # What a killed process left unfinished begins with a dot.
    shards = sorted(path for path in folder.glob("[!.]*") if path.is_dir())
    if not shards:
        raise IntegrityError(f"{folder} holds no soft labels; pull them (`dvc pull soft_labels`), or {AGAIN}")
    manifests = sorted((_read_manifest(shard) for shard in shards), key=lambda manifest: manifest.shard)
    _refuse_mixed(folder, manifests)
    return manifests


def refuse_foreign(folder: Path, found: Recipe, expected: Recipe) -> None:
    """Compare how soft labels were made with how they have to be.

    Raises:
        IntegrityError: the recipes differ; the message names the first part that does.
    """
    made = found.model_dump()
    for name, now in expected.model_dump().items():
        if (value := made[name]) != now:
            raise IntegrityError(f"soft labels in {folder} were made for {name} {value}, but now it is {now}; {AGAIN}")


def open_shard(path: Path, manifest: Manifest) -> list[pa.RecordBatch]:
    """Map a shard's file after checking its bytes against its manifest, then its types and its number of rows.

    Args:
        path: of the file.
        manifest: of its folder.
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
    if file.schema != schema.rows(manifest.recipe.width):
        raise IntegrityError(f"{path} has columns {file.schema.names} of other types than this version's; {AGAIN}")
    batches = [file.get_batch(index) for index in range(file.num_record_batches)]
    if (rows := sum(len(batch) for batch in batches)) != manifest.rows:
        raise IntegrityError(f"{path} holds {rows} images, but its manifest says {manifest.rows}; {AGAIN}")
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
    if (manifest.schema_version, manifest.key) != (schema.VERSION, manifest.recipe.digest()):
        raise IntegrityError(
            f"{path} has key {manifest.key[:12]} in version {manifest.schema_version}, but this code makes "
            f"{manifest.recipe.digest()[:12]} in version {schema.VERSION} of the same recipe; {AGAIN}"
        )
    if content != json_text(manifest.model_dump()).encode() or shard.name != str(manifest.shard):
        raise IntegrityError(f"{path} is not as the manifest of shard {manifest.shard} was written; {AGAIN}")
    return manifest


def _refuse_mixed(folder: Path, manifests: list[Manifest]) -> None:
    first = manifests[0]
    for manifest in manifests:
        made = manifest.recipe.model_dump()
        for name, expected in first.recipe.model_dump().items():
            if (found := made[name]) != expected:
                raise IntegrityError(
                    f"shard {manifest.shard} in {folder} was made for {name} {found}, "
                    f"but shard {first.shard} for {expected}; {AGAIN}"
                )
    numbers = [manifest.shard for manifest in manifests]
    if numbers != list(range(first.shards)) or any(manifest.shards != first.shards for manifest in manifests):
        raise IntegrityError(
            f"{folder} holds shards {numbers} of {first.shards}; remove any that are too many, or pull those that are "
            f"missing (`dvc pull soft_labels`), or {AGAIN}"
        )
