"""Download a batch of new files into a folder and check it there, file by file, before the dataset is touched."""

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
from alambique.data.dataset import OTHER_IMAGES, Dataset, class_names, read_boxes
from alambique.data.expectations import judge, offenders
from alambique.data.store import Item, Store
from alambique.errors import AlambiqueError, DataError
from alambique.files import sha256, write_text

LARGEST = 256 * 2**20
"""Bytes; larger files are refused, and not downloaded."""

FETCHES = 8
"""Parallel downloads: S3 is slow for each, and answers many at once."""

Names = list[str] | str
"""Class names by index, or the reason why they could not be read."""


@dataclass
class Staged:
    """A downloaded pair.

    Attributes:
        image, label: files in the staging folder; the label's classes are already those of the dataset.
        problems: reasons why it cannot join the dataset; empty if it can.
    """

    pair: Pair
    image: Path | None = None
    label: Path | None = None
    sha256: str | None = None
    problems: list[str] = field(default_factory=list)


def stage(store: Store, batch: list[Pair], folder: Path, classes: list[str]) -> list[Staged]:
    """Download a batch into `folder` and list for each pair what is wrong with it.

    Files are numbered: no part of a key becomes a path.

    Args:
        folder: to be made; a dataset of one split, and one of unlabelled images.
        classes: the dataset's, which the labels' are mapped to by name where a data.yaml lies above them.
    Raises:
        TransientError: a file could not be fetched.
    """
    downloads = [Staged(pair, problems=_refusals(pair)) for pair in batch]
    fetched = [staged for staged in downloads if not staged.problems]
    with ThreadPoolExecutor(FETCHES) as pool:
        list(pool.map(lambda number, staged: _fetch(store, number, staged, folder), count(), fetched))
    names = {pair.classes: _names(store, pair.classes, folder) for pair in batch if pair.classes}
    for staged in fetched:
        if staged.label and staged.pair.classes:
            _map_classes(staged, names[staged.pair.classes], classes)
    _judge(fetched, folder, classes)
    return downloads


def _refusals(pair: Pair) -> list[str]:
    if pair.image is None:
        return ["labels without an image"]
    if PurePosixPath(pair.image.key).suffix.lower() in OTHER_IMAGES:
        return [f"{pair.image.key} is of a format that is not taken; convert it to .png or .jpg"]
    empty = [f"{pair.image.key} is empty"] if pair.image.size == 0 else []
    return empty + [
        f"{item.key} has {item.size} bytes, more than {LARGEST}" for item in pair.items if item.size > LARGEST
    ]


def _fetch(store: Store, number: int, staged: Staged, folder: Path) -> None:
    image, label, _ = staged.pair
    if image is None:
        return
    split = "train" if label else "unlabelled"
    name = f"{number:08d}"
    staged.image = folder / "images" / split / f"{name}{PurePosixPath(image.key).suffix.lower()}"
    staged.image.parent.mkdir(parents=True, exist_ok=True)
    store.fetch(image, staged.image)
    staged.sha256 = sha256(staged.image)
    if label:
        staged.label = folder / "labels" / split / f"{name}.txt"
        staged.label.parent.mkdir(parents=True, exist_ok=True)
        store.fetch(label, staged.label)


def _names(store: Store, item: Item, folder: Path) -> Names:
    path = folder / "classes.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    store.fetch(item, path)
    try:
        content = read_yaml(path)
        return class_names(content.get("names") if isinstance(content, dict) else None, Path(item.key))
    except AlambiqueError as error:
        return str(error).replace(str(path), item.key)


def _map_classes(staged: Staged, names: Names, classes: list[str]) -> None:
    if isinstance(names, str):
        staged.problems.append(names)
        return
    label = Path(str(staged.label))
    try:
        boxes = read_boxes(label)
    except DataError:  # reported by the contract
        return
    used = sorted({int(index) for index in boxes[:, 0]})
    called = {index: names[index] if 0 <= index < len(names) else f"number {index}" for index in used}
    if unknown := [name for name in called.values() if name not in classes]:
        staged.problems.append(f"class {', '.join(unknown)} is none of the dataset's: {', '.join(classes)}")
        return
    rows = ([classes.index(called[int(index)]), *box] for index, *box in boxes.tolist())
    write_text(label, "".join(f"{' '.join(np.format_float_positional(x, trim='-') for x in row)}\n" for row in rows))


def _judge(fetched: list[Staged], folder: Path, classes: list[str]) -> None:
    if not fetched:
        return
    content = {"train": "images/train", "unlabelled": "images/unlabelled", "names": dict(enumerate(classes))}
    write_text(folder / "data.yaml", yaml.safe_dump(content))
    broken = offenders(judge(manifest.build(Dataset.load(folder)).tables, file_suites(len(classes))))
    for staged in fetched:
        staged.problems += broken.get(Path(str(staged.image)).relative_to(folder).as_posix(), [])
