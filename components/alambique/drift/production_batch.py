"""The newest images from production, fetched and judged by the contract that the dataset is held to."""

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
        staged: each with its file, and with the file of its labels where there are any.
        statistics: of each, (n, statistics).
        unreadable: how many more there were.
    """

    staged: list[Staged]
    statistics: NDArray[np.float64]
    unreadable: int

    @property
    def items(self) -> list[Item]:
        """The images as their store lists them."""
        return [each.pair.image for each in self.staged if each.pair.image]

    @property
    def images(self) -> list[Path]:
        return [Path(str(each.image)) for each in self.staged]


def newest(items: Iterable[Item], window: int) -> list[Pair]:
    """The images that came last, at most `window`, with their labels; by key among those that came together."""
    images = [(pair.image, pair) for pair in pairs(items) if pair.image]
    last = sorted(images, key=lambda found: (found[0].modified, found[0].key))[-window:]
    return [pair for _, pair in sorted(last, key=lambda found: found[0].key)]


def fetch(store: Store, batch: Sequence[Pair], folder: Path, classes: list[str]) -> Fetched:
    """Bring a batch into `folder`; what is broken or too large is left out, and counted.

    Args:
        classes: the champion's; those of labels below a data.yaml are mapped to them.
    Raises:
        TransientError: the store is out of reach.
    """
    sound = [each for each in stage(store, list(batch), folder, classes) if not each.wrong]
    table, read = statistics(Path(str(each.image)) for each in sound)
    kept = [each for each, readable in zip(sound, read, strict=True) if readable]
    return Fetched(kept, table[read], len(batch) - len(kept))


def lay_out_labelled(fetched: Fetched, target: Path, classes: list[str]) -> int:
    """Make a dataset of the batch's labelled images, as its test split, in the folder `target`; returns how many."""
    labelled = [each for each in fetched.staged if each.label]
    for each in labelled:
        for source, kind in ((each.image, "images"), (each.label, "labels")):
            link = target / kind / "test" / Path(str(source)).name
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(Path(str(source)).resolve())
    if labelled:
        write_text(target / "data.yaml", yaml.safe_dump({"test": "images/test", "names": dict(enumerate(classes))}))
    return len(labelled)
