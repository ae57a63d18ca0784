"""What Ultralytics does unasked, kept in bounds: its log, and the random numbers that it draws."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils import LOGGER


@contextmanager
def quiet() -> Iterator[None]:
    """Only its warnings: its bars are redrawn many times a second, and an export tells a dozen lines."""
    level = LOGGER.level
    LOGGER.setLevel(logging.WARNING)
    try:
        yield
    finally:
        LOGGER.setLevel(level)


def copy_tensors(model: DetectionModel, source: DetectionModel, seed: int) -> None:
    """Copy the tensors of `source` that fit into `model`, in place, by Ultralytics' own `load`.

    Args:
        seed: of the layers of class scores, which `load` makes anew, at random, where the classes are others.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model.load(source, verbose=False)
