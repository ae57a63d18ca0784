"""Perceptual hashes, so that near-duplicates (frames of one film, another JPEG of one shot) stay in one split."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE = 16
"""A fingerprint has SIDE² bits."""

CLOSE = 20
"""Near-duplicates differ in at most that many of 256 bits. Photographs that were scaled by a tenth and
compressed anew differed in at most 19, different ones of a kind in at least 30, as a rule in half of the bits."""

Fingerprints = NDArray[np.uint64]
"""(n, SIDE² / 64)"""


def fingerprints(paths: Iterable[Path]) -> Fingerprints:
    """Difference hashes (dHash): whether each cell of a SIDE × SIDE grid of grey values is darker than its right
    neighbour. They survive scaling and compression, not cropping or turning.

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
    return index if distances[index] <= CLOSE else None


def _fingerprint(path: Path) -> NDArray[np.uint64]:
    with Image.open(path) as image:
        image.draft("L", (4 * SIDE, 4 * SIDE))  # a JPEG is decoded no finer than needed
        grey = np.asarray(image.convert("L").resize((SIDE + 1, SIDE), Image.Resampling.BILINEAR), dtype=np.int16)
    return np.packbits(grey[:, :-1] < grey[:, 1:]).view(np.uint64)
