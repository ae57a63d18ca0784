from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from factories.s3 import s3_server
from PIL import Image

from alambique.data.arrivals import pairs
from alambique.data.store import open_store
from alambique.demo.batch import IN_THE_FIELD, LABELLED, send

SOURCE = Path(__file__).parents[3]


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project whose bucket is served."""
    shutil.copyfile(SOURCE / "params.yaml", tmp_path / "params.yaml")
    monkeypatch.setenv("AWS_CONFIG_FILE", "")  # the one that `send` sets is forgotten after the test
    with s3_server(tmp_path / "files"):
        yield tmp_path


def test_batches_appear_where_they_are_watched_for(served: Path, tmp_path: Path) -> None:
    assert [send(served, drifted=False) for _ in range(2)] == [
        "s3://alambique/demo/arrivals/batch-1",
        "s3://alambique/demo/arrivals/batch-2",
    ]
    arrived = list(open_store("s3://alambique/demo/arrivals").items())
    assert sum(pair.image is not None and pair.label is not None for pair in pairs(arrived)) == 2 * LABELLED
    assert len({item.version for item in arrived if item.key.endswith(".png")}) == 2 * LABELLED
    assert send(served, drifted=True) == "s3://alambique/demo/production/batch-1"
    store = open_store("s3://alambique/demo/production")
    images = [item for item in store.items() if item.key.endswith(".png")]
    assert len(images) == IN_THE_FIELD
    store.fetch(images[0], tmp_path / "dark.png")
    labelled = next(item for item in arrived if item.key.endswith(".png"))
    open_store("s3://alambique/demo/arrivals").fetch(labelled, tmp_path / "light.png")
    assert (
        np.asarray(Image.open(tmp_path / "dark.png")).mean()
        < 0.8 * np.asarray(Image.open(tmp_path / "light.png")).mean()
    )
