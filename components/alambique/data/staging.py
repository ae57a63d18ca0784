"""A batch fetched into a folder of its own and judged there, file by file, before anything touches the dataset."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path, PurePosixPath

import numpy as np
import yaml

from alambique.config import read_yaml
from alambique.data import manifest
from alambique.data.arrivals import Pair
from alambique.data.contract import file_suites
from alambique.data.dataset import Dataset, class_names, read_boxes
from alambique.data.expectations import judge, offenders
from alambique.data.store import Item, Store
from alambique.errors import AlambiqueError, DataError
from alambique.files import sha256, write_text

LARGEST = 256 * 2**20
"""Bytes. What is larger is no image of one shot, and is not fetched."""

FETCHES = 8
"""At the same time: an S3 server answers each slowly, and many at once."""

Names = list[str] | str
"""Class names by index, or why there are none."""


@dataclass
class Staged:
    """A pair as it was fetched.

    Attributes:
        image, label: files in the staging folder; the label's classes are already those of the dataset.
        wrong: why it cannot join; empty: it can.
    """

    pair: Pair
    image: Path | None = None
    label: Path | None = None
    sha256: str | None = None
    wrong: list[str] = field(default_factory=list)


def stage(store: Store, batch: list[Pair], folder: Path, classes: list[str]) -> list[Staged]:
    """Fetch a batch into `folder` and say of each pair what is wrong with it.

    Nothing in a key becomes a path here: files are numbered.

    Args:
        folder: to be made; a dataset of one split, and one of unlabelled images.
        classes: the dataset's, which the labels' are mapped to by name where a data.yaml lies above them.
    Raises:
        TransientError: a file could not be fetched.
    """
    staged = [Staged(pair, wrong=_refusals(pair)) for pair in batch]
    fetched = [each for each in staged if not each.wrong]
    with ThreadPoolExecutor(FETCHES) as pool:
        list(pool.map(lambda number, each: _fetch(store, number, each, folder), count(), fetched))
    names = {pair.classes: _names(store, pair.classes, folder) for pair in batch if pair.classes}
    for each in fetched:
        if each.label and each.pair.classes:
            _map_classes(each, names[each.pair.classes], classes)
    _judge(fetched, folder, classes)
    return staged


def _refusals(pair: Pair) -> list[str]:
    if pair.image is None:
        return ["labels without an image"]
    empty = [f"{pair.image.key} is empty"] if pair.image.size == 0 else []
    return empty + [
        f"{item.key} has {item.size} bytes, more than {LARGEST}" for item in pair.items if item.size > LARGEST
    ]


def _fetch(store: Store, number: int, each: Staged, folder: Path) -> None:
    image, label, _ = each.pair
    if image is None:
        return
    split = "train" if label else "unlabelled"
    name = f"{number:08d}"
    each.image = folder / "images" / split / f"{name}{PurePosixPath(image.key).suffix.lower()}"
    each.image.parent.mkdir(parents=True, exist_ok=True)
    store.fetch(image, each.image)
    each.sha256 = sha256(each.image)
    if label:
        each.label = folder / "labels" / split / f"{name}.txt"
        each.label.parent.mkdir(parents=True, exist_ok=True)
        store.fetch(label, each.label)


def _names(store: Store, item: Item, folder: Path) -> Names:
    path = folder / "classes.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    store.fetch(item, path)
    try:
        content = read_yaml(path)
        return class_names(content.get("names") if isinstance(content, dict) else None, Path(item.key))
    except AlambiqueError as error:
        return str(error).replace(str(path), item.key)


def _map_classes(each: Staged, names: Names, classes: list[str]) -> None:
    if isinstance(names, str):
        each.wrong.append(names)
        return
    label = Path(str(each.label))
    try:
        boxes = read_boxes(label)
    except DataError:  # the contract will say so
        return
    used = sorted({int(index) for index in boxes[:, 0]})
    called = {index: names[index] if 0 <= index < len(names) else f"number {index}" for index in used}
    if unknown := [name for name in called.values() if name not in classes]:
        each.wrong.append(f"class {', '.join(unknown)} is none of the dataset's: {', '.join(classes)}")
        return
    rows = ([classes.index(called[int(index)]), *box] for index, *box in boxes.tolist())
    write_text(label, "".join(f"{' '.join(np.format_float_positional(x, trim='-') for x in row)}\n" for row in rows))


def _judge(fetched: list[Staged], folder: Path, classes: list[str]) -> None:
    """Hold each file to the contract that the dataset is held to."""
    if not fetched:
        return
    content = {"train": "images/train", "unlabelled": "images/unlabelled", "names": dict(enumerate(classes))}
    write_text(folder / "data.yaml", yaml.safe_dump(content))
    broken = offenders(judge(manifest.build(Dataset.load(folder)).tables, file_suites(len(classes))))
    for each in fetched:
        each.wrong += broken.get(Path(str(each.image)).relative_to(folder).as_posix(), [])
