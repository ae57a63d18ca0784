"""The features that are compared: of a reference, which is stored as .npz, and of a production batch."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from alambique.files import write_bytes
from alambique.tasks.base import DriftFeatures

VERSION = 2
"""Of the code that computes the features: increment it when that changes, so that stored references are recomputed."""


class Reference(NamedTuple):
    """Features of the champion's dataset.

    Attributes:
        statistics: `image_statistics` of training images, (n, statistics).
        network_features: the champion's on val and test images, which it was not trained on; None if these are few.
        trained, held_out: numbers of these images.
    """

    statistics: NDArray[np.float64]
    network_features: DriftFeatures | None
    trained: int
    held_out: int


class Batch(NamedTuple):
    """Features of a production batch: both of all its n images."""

    statistics: NDArray[np.float64]
    network_features: DriftFeatures


def save(path: Path, reference: Reference) -> None:
    """Write a reference, atomically, as NumPy's .npz."""
    arrays: dict[str, Any] = {"statistics": reference.statistics}
    facts: dict[str, Any] = {"trained": reference.trained, "held_out": reference.held_out, "observed": False}
    if (features := reference.network_features) is not None:
        arrays |= {"embeddings": features.embeddings, "counts": features.counts, "uncertainty": features.uncertainty}
        arrays |= {f"number:{name}": values for name, values in features.numbers.items()}
        facts |= {"observed": True, "numbers": list(features.numbers), "classes": features.classes}
    stream = io.BytesIO()
    np.savez_compressed(stream, facts=np.array(json.dumps(facts)), **arrays)
    write_bytes(path, stream.getvalue())


def load(path: Path) -> Reference:
    """Read what `save` wrote."""
    with np.load(path, allow_pickle=False) as file:
        facts = json.loads(str(file["facts"]))
        network_features = None
        if facts["observed"]:
            numbers = {name: file[f"number:{name}"] for name in facts["numbers"]}
            network_features = DriftFeatures(
                file["embeddings"], numbers, file["counts"], facts["classes"], file["uncertainty"]
            )
        return Reference(file["statistics"], network_features, facts["trained"], facts["held_out"])
