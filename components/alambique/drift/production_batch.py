"""The newest production images: downloaded, and checked by the dataset's contract."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import yaml
from numpy.typing import NDArray

from alambique.data.arrivals import Pair, pairs
from alambique.data.staging import Staged, stage
from alambique.data.store import Item, Store
from alambique.drift.image_statistics import statistics
from alambique.files import write_text


class Fetched(NamedTuple):
    """The readable images of a batch, in the order of their keys.

    Attributes:
        staged: each with its file, and its file of labels if there is one.
        statistics: `image_statistics` of each, (n, statistics).
        unreadable: how many more there were.
    """

    staged: list[Staged]
    statistics: NDArray[np.float64]
    unreadable: int

    @property
    def items(self) -> list[Item]:
        """The images as their store lists them."""
        return [staged.pair.image for staged in self.staged if staged.pair.image]

    @property
    def images(self) -> list[Path]:
        return [Path(str(staged.image)) for staged in self.staged]


def newest(items: Iterable[Item], window: int) -> list[Pair]:
    """The last `window` images to arrive, with their labels; those that arrived together in the order of keys."""
    images = [(pair.image, pair) for pair in pairs(items) if pair.image]
    last = sorted(images, key=lambda entry: (entry[0].modified, entry[0].key))[-window:]
    return [pair for _, pair in sorted(last, key=lambda entry: entry[0].key)]


def fetch(store: Store, batch: Sequence[Pair], folder: Path, classes: list[str]) -> Fetched:
    """Download a batch into `folder`; broken and too large files are left out, and counted.

    Args:
        classes: the champion's; those of labels below a data.yaml are mapped to them.
    Raises:
        TransientError: the store is out of reach.
    """
    valid = [staged for staged in stage(store, list(batch), folder, classes) if not staged.problems]
    table, read = statistics(Path(str(staged.image)) for staged in valid)
    kept = [staged for staged, readable in zip(valid, read, strict=True) if readable]
    return Fetched(kept, table[read], len(batch) - len(kept))


def lay_out_labelled(fetched: Fetched, target: Path, classes: list[str]) -> int:
    """Link the batch's labelled images into a dataset at `target`, as its test split; returns how many."""
    labelled = [staged for staged in fetched.staged if staged.label]
    for staged in labelled:
        for source, kind in ((staged.image, "images"), (staged.label, "labels")):
            link = target / kind / "test" / Path(str(source)).name
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(Path(str(source)).resolve())
    if labelled:
        write_text(target / "data.yaml", yaml.safe_dump({"test": "images/test", "names": dict(enumerate(classes))}))
    return len(labelled)
