from __future__ import annotations

from pathlib import Path

import pytest

from alambique.files import folder_sha256
from alambique.runtimes import load
from alambique.runtimes.base import Exportable


@pytest.mark.slow
def test_equal_weights_give_equal_packages_wherever_they_are_made(classifier: Exportable, tmp_path: Path) -> None:
    pytest.importorskip("coremltools")
    for name in ("first", "second"):
        image, logits = load("coreml").write(classifier, tmp_path / name / "model.mlpackage")
        assert (image.name, logits.shape) == ("images", [1, 4])
    assert folder_sha256(tmp_path / "first") == folder_sha256(tmp_path / "second")
