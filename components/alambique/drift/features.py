"""What is known of a set of images, and how it is kept."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from alambique.files import write_bytes
from alambique.tasks import DriftFeatures

VERSION = 2
"""Of all that the features are computed by: whoever changes that counts up, and old references are made anew."""


class Reference(NamedTuple):
    """What the champion was made from.

    Attributes:
        statistics: of training images, (n, statistics).
        observed: what the champion makes of images that it was not trained on; None where there are too few.
        trained, held_out: how many images those are.
    """

    statistics: NDArray[np.float64]
    observed: DriftFeatures | None
    trained: int
    held_out: int


class Batch(NamedTuple):
    """The same of a production batch: both of all its n images."""

    statistics: NDArray[np.float64]
    observed: DriftFeatures


def save(path: Path, reference: Reference) -> None:
    """Write a reference, atomically, as NumPy's .npz."""
    arrays: dict[str, Any] = {"statistics": reference.statistics}
    facts: dict[str, Any] = {"trained": reference.trained, "held_out": reference.held_out, "observed": False}
    if (seen := reference.observed) is not None:
        arrays |= {"embeddings": seen.embeddings, "counts": seen.counts, "uncertainty": seen.uncertainty}
        arrays |= {f"number:{name}": values for name, values in seen.numbers.items()}
        facts |= {"observed": True, "numbers": list(seen.numbers), "classes": seen.classes}
    stream = io.BytesIO()
    np.savez_compressed(stream, facts=np.array(json.dumps(facts)), **arrays)
    write_bytes(path, stream.getvalue())


def load(path: Path) -> Reference:
    """Read what `save` wrote."""
    with np.load(path, allow_pickle=False) as file:
        facts = json.loads(str(file["facts"]))
        observed = None
        if facts["observed"]:
            numbers = {name: file[f"number:{name}"] for name in facts["numbers"]}
            observed = DriftFeatures(file["embeddings"], numbers, file["counts"], facts["classes"], file["uncertainty"])
        return Reference(file["statistics"], observed, facts["trained"], facts["held_out"])
