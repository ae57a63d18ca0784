"""How far an artifact's probabilities are from those of the checkpoint that it was exported from."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

SAMPLES = 64
"""Test samples that are compared, the first by name: an export that breaks something breaks it on every sample."""


def parity(artifact: NDArray[np.floating], checkpoint: NDArray[np.floating]) -> dict[str, Any]:
    """Compare two networks' probabilities of the same n samples.

    Args:
        artifact, checkpoint: (n, classes), n > 0.
    Returns:
        samples: n; max_score_difference: of any probability, None where one is not finite; max_output_difference: None,
        as there is no other output; agreement: share of samples with the same likeliest class, 0 to 1.
    """
    difference = np.abs(artifact - checkpoint).max()
    same = artifact.argmax(axis=1) == checkpoint.argmax(axis=1)
    return {
        "samples": len(artifact),
        "max_score_difference": float(difference) if np.isfinite(difference) else None,
        "max_output_difference": None,
        "agreement": float((same & np.isfinite(artifact).all(axis=1)).mean()),
    }
