"""Copy a dataset (any YOLO data.yaml, or a name that Ultralytics downloads) into the project's layout."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from alambique.config import read_yaml
from alambique.data.dataset import IMAGE_SUFFIXES, LABELLED, SPLITS, class_names
from alambique.errors import DataError, TransientError

Pairs = dict[Path, Path]
"""Each image of a split, sorted, and where its labels would be."""

KEYPOINTS = ("kpt_shape", "flip_idx", "kpt_oks_sigmas")
"""Keys of keypoints in a data.yaml: their shape, which become each other when mirrored, and the OKS deviations."""


def import_dataset(data: str, target: Path) -> None:
    """Copy the dataset `data` to `target`.

    Args:
        data: a data.yaml, a folder with one, or the name of a dataset that Ultralytics downloads.
        target: to be made: data.yaml, images/<split>, labels/<split>.
    Raises:
        DataError: what is wrong with it, and where.
        TransientError: Ultralytics' dataset could not be downloaded.
    """
    file, content = _read(data)
    splits = _splits(file, content)
    classes = class_names(content.get("names"), file)
    for split, pairs in splits.items():
        _copy(pairs, target, split)
    description = {split: f"images/{split}" for split in splits} | {"names": dict(enumerate(classes))}
    description |= {key: content[key] for key in KEYPOINTS if key in content}
    (target / "data.yaml").write_text(yaml.safe_dump(description, sort_keys=False))


def _splits(file: Path, content: dict[str, Any]) -> dict[str, Pairs]:
    """The images and labels of each split that a data.yaml names; a `path` in it that does not exist is ignored."""
    path = file.parent / Path(str(content.get("path") or ".")).expanduser()
    base = path if path.is_dir() else file.parent
    splits = {}
    for split in SPLITS:
        if value := content.get(split):
            places = value if isinstance(value, list) else [value]
            images = sorted(image for place in places for image in _images(_find(base, str(place), split, file)))
            splits[split] = {image: label_of(image) for image in images}
    for split in LABELLED:
        _check(split, splits.get(split), file)
    return splits


def label_of(image: Path) -> Path:
    """Where YOLO looks for an image's labels: the last folder called images becomes labels, the suffix .txt."""
    parts = list(image.parts)
    if "images" in parts[:-1]:
        parts[len(parts) - 2 - parts[-2::-1].index("images")] = "labels"
    return Path(*parts).with_suffix(".txt")


def _read(data: str) -> tuple[Path, dict[str, Any]]:
    path = Path(data).expanduser()
    if path.is_dir():
        files = sorted(path.glob("*.y*ml"))
        named = path / "data.yaml"
        if named not in files and len(files) != 1:
            raise DataError(f"{path} holds no data.yaml (found {[file.name for file in files]}); give the file itself")
        path = named if named in files else files[0]
    if not path.is_file():
        return _download(data)
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise DataError(f"{path} holds no mapping; it needs train, val, test and names")
    return path.resolve(), content


def _download(name: str) -> tuple[Path, dict[str, Any]]:
    if "/" in name:
        raise DataError(f"there is no {name}; give a data.yaml, a folder with one, or a dataset name as in coco8")
    from alambique.process.environment import prepare

    prepare()
    from ultralytics.data.utils import check_det_dataset

    try:
        content = check_det_dataset(name)
    except FileNotFoundError as error:
        raise DataError(f"there is no file {name}, and Ultralytics knows no dataset of that name: {error}") from None
    except (OSError, SyntaxError, TypeError) as error:
        raise TransientError(f"Ultralytics cannot provide the dataset {name}: {error}") from error
    return Path(content["yaml_file"]), {**content, "path": str(content["path"])}


def _find(base: Path, place: str, split: str, file: Path) -> Path:
    # Roboflow writes ../train/images for folders beside the data.yaml.
    for candidate in (base / place, base / place.removeprefix("../")):
        if candidate.exists():
            return candidate.resolve()
    raise DataError(f"{file}: {split}: {place} is not in {base}; correct the path")


def _images(place: Path) -> Iterator[Path]:
    if place.is_dir():
        yield from (path for path in place.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
        return
    for line in place.read_text().splitlines():
        if line.strip():
            image = place.parent / line.strip()
            if not image.is_file():
                raise DataError(f"{place} lists {line.strip()}, which is not there; paths are relative to the list")
            yield image.resolve()


def _check(split: str, pairs: Pairs | None, file: Path) -> None:
    if pairs is None:
        raise DataError(
            f"{file} names no `{split}` split. Alambique trains on train, decides on val and measures once on test: "
            f"move some images and labels to a folder of their own and add `{split}: images/{split}`"
        )
    if not pairs:
        raise DataError(f"{file}: {split}: no images ({', '.join(sorted(IMAGE_SUFFIXES))}) were found")
    if not any(label.exists() for label in pairs.values()):
        first = next(iter(pairs.values()))
        raise DataError(f"{file}: {split}: none of {len(pairs)} images has labels; the first would be {first}")


def _copy(pairs: Pairs, target: Path, split: str) -> None:
    root = Path(os.path.commonpath([image.parent for image in pairs])) if pairs else Path()
    for image, label in pairs.items():
        inside = Path(split) / image.relative_to(root)
        (target / "images" / inside).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(image, target / "images" / inside)
        if split in LABELLED and label.exists():
            copy = (target / "labels" / inside).with_suffix(".txt")
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(label, copy)
