from __future__ import annotations

import pytest
import torch
from factories.image_views import PICO

from alambique.demo.digits import Digits
from alambique.tasks.classify import network
from alambique.tasks.classify.adopt import adopt
from alambique.tasks.classify.dataset import Dataset
from alambique.tasks.classify.network import Checkpoint

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """20 train, 10 val, 10 test and 10 unlabelled digits, 40 px. Read-only."""
    folder = tmp_path_factory.mktemp("digits")
    Digits(train=20, val=10, test=10, unlabelled=10, size=40).write(folder / "source")
    adopt(str(folder / "source"), folder / "data")
    return Dataset.load(folder / "data")


@pytest.fixture
def pico(digits: Dataset) -> Checkpoint:
    """A classifier of random weights."""
    return network.build(PICO, digits.classes, 0)
