"""Read the cache, memory-mapped, and refuse what is damaged, unfinished, or of another teacher or dataset."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import ValidationError

from alambique.errors import IntegrityError
from alambique.files import sha256
from alambique.softlabels import schema
from alambique.softlabels.key import Manifest
from alambique.softlabels.schema import SoftLabels

AGAIN = "run the soft_labels stage again (`dvc repro soft_labels`)"


class Cache(Mapping[str, SoftLabels]):
    """All soft labels, by the image's path inside data/images; an image is decoded when it is asked for.

    Attributes:
        manifest: of the first shard; its recipe is that of all.
    """

    def __init__(self, manifest: Manifest, images: dict[str, SoftLabels]) -> None:
        self.manifest = manifest
        self._images = images

    @classmethod
    def open(cls, folder: Path, data: Mapping[str, str], image_size: int, classes: list[str]) -> Self:
        """Open every shard below `folder`, each checked to the last byte.

        Args:
            folder: of the shards' folders.
            data: digests of the images as they are now, by split.
            image_size: side of the input that the students are trained for, pixels.
            classes: the dataset's class names.
        Raises:
            IntegrityError: a shard is missing, unfinished or damaged, or was made from other images, another teacher,
                size or set of classes than asked for.
        """
        shards = sorted((path for path in folder.iterdir() if path.is_dir()), key=lambda path: path.name)
        if not shards:
            raise IntegrityError(f"{folder} holds no soft labels; {AGAIN}")
        manifests = [_manifest(shard) for shard in shards]
        first = manifests[0]
        _refuse_foreign(folder, first, {"data": dict(data), "image_size": image_size, "classes": classes})
        _refuse_mixed(folder, manifests)
        images: dict[str, SoftLabels] = {}
        for shard, manifest in zip(shards, manifests, strict=True):
            images |= _images(shard / schema.SHARD, manifest)
        return cls(first, images)

    def __getitem__(self, image: str) -> SoftLabels:
        return self._images[image]

    def __iter__(self) -> Iterator[str]:
        return iter(self._images)

    def __len__(self) -> int:
        return len(self._images)


def _manifest(shard: Path) -> Manifest:
    path = shard / schema.MANIFEST
    try:
        manifest = Manifest.model_validate_json(path.read_text())
    except OSError as error:
        raise IntegrityError(f"cannot read {path}: {error.strerror}: the shard is unfinished; {AGAIN}") from None
    except ValidationError as error:
        raise IntegrityError(f"{path} is no manifest ({error.error_count()} errors); {AGAIN}") from None
    if (manifest.schema_version, manifest.key) != (schema.VERSION, manifest.digest()):
        raise IntegrityError(
            f"{path} has key {manifest.key[:12]} in version {manifest.schema_version}, but this code makes "
            f"{manifest.digest()[:12]} in version {schema.VERSION} of the same recipe; {AGAIN}"
        )
    return manifest


def _refuse_foreign(folder: Path, manifest: Manifest, expected: Mapping[str, object]) -> None:
    for name, value in expected.items():
        found = getattr(manifest, name)
        if found != value:
            raise IntegrityError(f"soft labels in {folder} were made for {name} {found}, but this is {value}; {AGAIN}")


def _refuse_mixed(folder: Path, manifests: list[Manifest]) -> None:
    first = manifests[0]
    for manifest in manifests:
        if manifest.teachers != first.teachers:
            made, expected = (", ".join(sha256[:12] for sha256 in each.teachers) for each in (manifest, first))
            raise IntegrityError(
                f"shard {manifest.shard} in {folder} was made by teachers {made}, "
                f"but shard {first.shard} by {expected}; {AGAIN}"
            )
        if manifest.key != first.key:
            raise IntegrityError(
                f"shard {manifest.shard} in {folder} has key {manifest.key[:12]}, "
                f"but shard {first.shard} has {first.key[:12]}; {AGAIN}"
            )
    found = sorted(manifest.shard for manifest in manifests)
    if found != list(range(first.shards)) or any(manifest.shards != first.shards for manifest in manifests):
        raise IntegrityError(f"{folder} holds shards {found} of {first.shards}; {AGAIN}")


def _images(path: Path, manifest: Manifest) -> dict[str, SoftLabels]:
    """Map a shard after checking its bytes against its manifest, then its types, order and numbers."""
    digest = sha256(path) if path.exists() else "missing"
    if digest != manifest.sha256:
        raise IntegrityError(
            f"{path} has sha256 {digest[:12]}, but its manifest says {manifest.sha256[:12]}: it was truncated or "
            f"changed; fetch it again (`dvc checkout --force`), or {AGAIN}"
        )
    file = pa.ipc.open_file(pa.memory_map(str(path)))
    if file.schema != schema.rows(manifest.width):
        raise IntegrityError(f"{path} has columns {file.schema.names} of other types than this version's; {AGAIN}")
    images: list[SoftLabels] = []
    for index in range(file.num_record_batches):
        images += _decode(file.get_batch(index))
    if len(images) != manifest.rows:
        raise IntegrityError(f"{path} holds {len(images)} images, but its manifest says {manifest.rows}; {AGAIN}")
    for before, after in pairwise(images):
        if before.image >= after.image:
            raise IntegrityError(f"{path} is out of order: {before.image} stands before {after.image}; {AGAIN}")
    for image in images:
        if not all(np.isfinite(values).all() for values in (image.boxes, image.logits, image.scores)):
            raise IntegrityError(f"{path} holds numbers that are not finite for {image.image}; {AGAIN}")
    return {image.image: image for image in images}


def _decode(batch: pa.RecordBatch) -> list[SoftLabels]:
    """The images of a batch, as views of the mapped file."""
    columns = [_values(batch.column(name)) for name in ("boxes", "logits", "classes", "scores")]
    spans = pairwise(batch.column("boxes").offsets.to_numpy())
    images = batch.column("image").to_pylist()
    return [
        SoftLabels(image, *(column[start:stop] for column in columns))
        for image, (start, stop) in zip(images, spans, strict=True)
    ]


def _values(column: pa.ListArray) -> NDArray[Any]:
    """Every box's value or values in a column, (boxes,) or (boxes, …)."""
    values = column.values
    if not pa.types.is_fixed_size_list(values.type):
        return np.asarray(values)
    return np.asarray(values.values).reshape(-1, values.type.list_size)
