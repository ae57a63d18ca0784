"""The datasets that benchmarks train on: parts of a given one, linked, or the demo's scenes made larger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from alambique.data.dataset import Dataset
from alambique.demo.digits import Scenes
from alambique.errors import DataError


def link(source: Dataset, target: Path, splits: Mapping[str, Sequence[Path]]) -> Dataset:
    """A dataset of links to some images of another one, and to their labels except in `unlabelled`.

    Args:
        source: the other dataset.
        target: the folder to make.
        splits: images of `source` by the split they get; names are unique within a split.
    """
    for split, images in splits.items():
        for image in images:
            _link(image, target / "images" / split / image.name)
            label = source.label(image)
            if split != "unlabelled" and label.exists():
                _link(label, target / "labels" / split / label.name)
    content = {split: f"images/{split}" for split in splits} | {"names": dict(enumerate(source.classes))}
    (target / "data.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    return Dataset.load(target)


def scenes(target: Path, train: int, size: int) -> Dataset:
    """The demo's scenes, drawn larger; some two or three objects fit into one.

    Args:
        target: the folder to make.
        train: labelled scenes to train on; there are a few more to validate on and to test on.
        size: side of a scene, pixels.
    """
    Scenes(train=train, val=8, test=8, size=size, digits=16).write(target)
    return Dataset.load(target)


def given(folder: Path, splits: Mapping[str, int]) -> Dataset:
    """The dataset in `folder`, if it has enough images.

    Args:
        folder: of a data.yaml in YOLO layout.
        splits: how many images each split has at least.
    Raises:
        DataError: it is missing, or smaller than that.
    """
    data = Dataset.load(folder)
    for split, least in splits.items():
        if (found := len(data.images(split))) < least:
            raise DataError(f"{folder} has {found} {split} images, but {least} are needed; give a larger dataset")
    return data


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.symlink_to(source.resolve())
