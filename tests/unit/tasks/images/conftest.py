from __future__ import annotations

import pytest
import torch
from factories.image_views import PICO

from alambique.demo.digits import Digits
from alambique.tasks.images import network
from alambique.tasks.images.dataset import Dataset
from alambique.tasks.images.import_dataset import import_dataset
from alambique.tasks.images.network import ClassifierNetwork

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """20 train, 10 val, 10 test and 10 unlabelled digits, 40 px. Read-only."""
    folder = tmp_path_factory.mktemp("digits")
    Digits(train=20, val=10, test=10, unlabelled=10, size=40).write(folder / "source")
    import_dataset(str(folder / "source"), folder / "data")
    return Dataset.load(folder / "data")


@pytest.fixture
def pico(digits: Dataset) -> ClassifierNetwork:
    """A classifier of random weights."""
    return network.build(PICO, digits.classes, 0)
