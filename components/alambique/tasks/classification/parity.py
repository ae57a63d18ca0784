"""How far an artifact answers as the checkpoint that it was made from."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

SAMPLES = 64
"""How many test samples are compared, the first by name: what an export breaks it breaks on every one."""


def parity(artifact: NDArray[np.floating], checkpoint: NDArray[np.floating]) -> dict[str, Any]:
    """Compare the probabilities that two networks give to the same samples.

    Args:
        artifact, checkpoint: (n, classes), n > 0.
    Returns:
        images: how many were compared; max_score_difference, of any probability, None where one is no number;
        max_box_difference: None, there are none; agreement: the share with one likeliest class, 0 to 1.
    """
    difference = np.abs(artifact - checkpoint).max()
    same = artifact.argmax(axis=1) == checkpoint.argmax(axis=1)
    return {
        "images": len(artifact),
        "max_score_difference": float(difference) if np.isfinite(difference) else None,
        "max_box_difference": None,
        "agreement": float((same & np.isfinite(artifact).all(axis=1)).mean()),
    }
