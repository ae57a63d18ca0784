from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # a worker of pytest has one core to itself


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny real dataset in YOLO layout: 64 px, 24 train, 8 val, 8 test and 8 unlabelled scenes. Read-only."""
    from alambique.demo.scenes import Scenes

    target = tmp_path_factory.mktemp("scenes") / "data"
    Scenes(train=24, val=8, test=8, unlabelled=8, size=64, digits=2).write(target)
    return target
