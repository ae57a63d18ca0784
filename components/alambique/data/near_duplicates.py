"""Near-duplicates: frames of one film, another JPEG of one shot. Images by a perceptual hash, texts by their words."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE = 16
"""A fingerprint has SIDE² bits."""

CLOSE = 20
"""Near-duplicates differ in at most that many of 256 bits. Photographs that were scaled by a tenth and
compressed anew differed in at most 19, different ones of a kind in at least 30, as a rule in half of the bits."""

LARGEST_SHARE = 1 / 3
"""And in at most that share of the bits that either has. Of drawings that are mostly white (DeepPCB), pairs that
people call different had 0.42 and 0.56, others 0.16 and 0.32; the bits of photographs make it 0.14 at most."""

HELD_OUT = ("test", "val")
"""Splits that networks are measured on: whatever resembles their samples elsewhere flatters the figures."""

Fingerprints = NDArray[np.uint64]
"""(n, SIDE² / 64)"""


class Pair(NamedTuple):
    """Positions of a sample of val or test, and of the one in another split that is nearest to it."""

    held_out: int
    other: int


def fingerprints(paths: Iterable[Path]) -> Fingerprints:
    """Difference hashes (dHash; N. Krawetz, Kind of Like That, 2013): whether each cell of a SIDE × SIDE grid of grey
    values is darker than its right neighbour. They survive scaling and compression, not cropping or turning.

    An image without contrast has the hash of every other one without; see `nearest`.
    """
    rows = [_fingerprint(path) for path in paths]
    return np.array(rows, dtype=np.uint64).reshape(-1, SIDE * SIDE // 64)


def nearest(one: NDArray[np.uint64], others: Fingerprints) -> int | None:
    """Index of the near-duplicate of `one`; None without one, or if `one` has too little contrast to tell."""
    if not len(others) or np.bitwise_count(one).sum() <= CLOSE:
        return None
    distances = np.bitwise_count(others ^ one).sum(axis=1)
    index = int(distances.argmin())
    either = np.bitwise_count(others[index] | one).sum()
    return index if distances[index] <= min(CLOSE, LARGEST_SHARE * either) else None


def image_pairs(prints: Fingerprints, splits: Sequence[str]) -> list[Pair]:
    """The samples of test and val that resemble one of another split; of test and val each pair once.

    Args:
        prints: of all images, (n, SIDE² / 64).
        splits: of each image.
    """
    names, pairs = np.array(splits), []
    for place, split in enumerate(HELD_OUT):
        others = np.flatnonzero(~np.isin(names, HELD_OUT[: place + 1]))
        compared = prints[others]
        for index in np.flatnonzero(names == split):
            found = nearest(prints[index], compared)
            if found is not None:
                pairs.append(Pair(int(index), int(others[found])))
    return pairs


def text_pairs(texts: Sequence[str], splits: Sequence[str]) -> list[Pair]:
    """The same of texts: those whose letters and digits are equal, in any case."""
    keys = [" ".join(re.findall(r"\w+", text.lower())) for text in texts]
    first: dict[tuple[str, str], int] = {}
    for index, (split, key) in enumerate(zip(splits, keys, strict=True)):
        if key:
            first.setdefault((split, key), index)
    pairs = []
    for place, split in enumerate(HELD_OUT):
        others = [name for name in dict.fromkeys(splits) if name not in HELD_OUT[: place + 1]]
        for index, key in enumerate(keys):
            if splits[index] == split:
                known = [first[other, key] for other in others if (other, key) in first]
                pairs += [Pair(index, known[0])] if known else []
    return pairs


def _fingerprint(path: Path) -> NDArray[np.uint64]:
    with warnings.catch_warnings(), Image.open(path) as image:
        warnings.simplefilter("ignore")  # of profiles, sizes and the like, which `manifest` judges
        image.draft("L", (4 * SIDE, 4 * SIDE))  # a JPEG is decoded no finer than needed
        grey = np.asarray(image.convert("L").resize((SIDE + 1, SIDE), Image.Resampling.BILINEAR), dtype=np.int16)
    return np.packbits(grey[:, :-1] < grey[:, 1:]).view(np.uint64)
