from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from alambique.process.environment import prepare

prepare()


@pytest.fixture
def dataset(scenes: Path, tmp_path: Path) -> Path:
    """A copy of `scenes` that a test may break."""
    return Path(shutil.copytree(scenes, tmp_path / "dataset"))
