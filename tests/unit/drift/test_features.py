from __future__ import annotations

from pathlib import Path

import numpy as np
from factories.drift_features import CLASSES, reference

from alambique.drift import features


def test_a_stored_reference_is_unchanged(tmp_path: Path) -> None:
    known = reference()
    features.save(tmp_path / "a.npz", known)
    again = features.load(tmp_path / "a.npz")
    assert known.network_features is not None and again.network_features is not None
    assert np.array_equal(again.statistics, known.statistics)
    for field in ("embeddings", "counts", "uncertainty"):
        assert np.array_equal(getattr(again.network_features, field), getattr(known.network_features, field))
    assert {name: values.tolist() for name, values in again.network_features.numbers.items()} == {
        name: values.tolist() for name, values in known.network_features.numbers.items()
    }
    assert again.network_features.classes == CLASSES
    assert (again.trained, again.held_out) == (150, 100)


def test_a_reference_without_network_features_is_stored_too(tmp_path: Path) -> None:
    features.save(tmp_path / "a.npz", reference()._replace(network_features=None, held_out=7))
    again = features.load(tmp_path / "a.npz")
    assert again.network_features is None
    assert again.held_out == 7
