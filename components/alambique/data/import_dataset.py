"""Copy a dataset into the project's layout: any YOLO data.yaml, annotations as `forms` reads them, or a name that
Ultralytics downloads.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from alambique.data.dataset import LABELLED, class_names
from alambique.data.forms import find
from alambique.data.forms.convert import convert
from alambique.data.read_yolo import KEYPOINTS, absolute, read, splits_of
from alambique.errors import DataError

log = logging.getLogger(__name__)


def import_dataset(data: str, target: Path, head: str = "detect") -> None:
    """Copy the dataset `data` to `target`.

    Args:
        data: a data.yaml or a folder with one; a file of annotations or a folder with some, see `forms`; or the name
            of a dataset that Ultralytics downloads.
        target: to be made: data.yaml, images/<split>, labels/<split>.
        head: whose labels are made of annotations.
    Raises:
        DataError: what is wrong with it, and where.
        TransientError: Ultralytics' dataset could not be downloaded.
    """
    path = Path(data).expanduser()
    if _is_annotated(path):
        converted = convert(absolute(path), head)
        for split, labels in converted.splits.items():
            _copy(labels, target, split)
        _describe(target, list(converted.splits), converted.annotations.classes, converted.annotations.keypoints)
        return
    file, content = read(data)
    splits = splits_of(file, content)
    classes = class_names(content.get("names"), file)
    counts = ", ".join(f"{split} {len(pairs)}" for split, pairs in splits.items())
    log.info("%s is taken as YOLO: images %s", file, counts)
    for split, pairs in splits.items():
        _copy(pairs, target, split)
    _describe(target, list(splits), classes, {key: content[key] for key in KEYPOINTS if key in content})


def _is_annotated(path: Path) -> bool:
    """Whether a path is a file of annotations, or a folder with some and without a data.yaml."""
    if path.is_dir():
        return not list(path.glob("*.y*ml")) and bool(find.annotation_files(path))
    return path.is_file() and (path.suffix.lower() in find.SUFFIXES or path.name == find.CLASS_LIST)


def _describe(target: Path, splits: list[str], classes: list[str], keypoints: dict[str, Any]) -> None:
    content = {split: f"images/{split}" for split in splits} | {"names": dict(enumerate(classes))} | keypoints
    (target / "data.yaml").write_text(yaml.safe_dump(content, sort_keys=False))


def _copy(pairs: Mapping[Path, Path | str | None], target: Path, split: str) -> None:
    """Copy the images of a split, and their labels: files, of which some are missing, or their content."""
    root = Path(os.path.commonpath([image.parent for image in pairs])) if pairs else Path()
    for image, label in pairs.items():
        inside = Path(split) / image.relative_to(root)
        (target / "images" / inside).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(image, target / "images" / inside)
        copy = (target / "labels" / inside).with_suffix(".txt")
        if split in LABELLED and label is not None and (isinstance(label, str) or label.exists()):
            copy.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(label, Path):
                shutil.copyfile(label, copy)
            elif copy.exists():
                raise DataError(f"{image} and another image differ in their suffixes alone; YOLO's labels would mix")
            else:
                copy.write_text(label)
