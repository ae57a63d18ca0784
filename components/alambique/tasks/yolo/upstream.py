"""What Ultralytics does unasked, kept in bounds: its log, the random numbers that it draws, its pickles."""

from __future__ import annotations

import logging
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import ultralytics.nn.tasks
from ultralytics import __version__
from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils import LOGGER

from alambique.layout import WEIGHTS
from alambique.tasks import weight_files

ultralytics.nn.tasks.SAFE_LOAD = True
"""Every checkpoint comes from a remote, a stage's own, too: it may name Ultralytics' and torch's layers alone."""


@contextmanager
def quiet() -> Iterator[None]:
    """Only its warnings: its bars are redrawn many times a second, and an export tells a dozen lines."""
    level = LOGGER.level
    LOGGER.setLevel(logging.WARNING)
    try:
        yield
    finally:
        LOGGER.setLevel(level)


def load_checkpoint(path: Path) -> Any:
    """The network in a checkpoint, by Ultralytics' own reader of known layers, in evaluation mode and FP32.

    That takes apostrophes and outer blanks out of a path, and replaces a file's name that is an old YOLOv5's: it is
    given another name of the file.
    """
    with tempfile.TemporaryDirectory() as folder:
        link = Path(folder) / WEIGHTS
        link.symlink_to(path.absolute())
        model, _ = ultralytics.nn.tasks.load_checkpoint(link)
    model.pt_path = str(path)
    return model


def unknown_layers(path: Path) -> str | None:
    """Which classes a checkpoint needs that Ultralytics and torch lack: somebody's own, or newer ones.

    Raises:
        DataError: the file is none of Ultralytics; it says what it is.
    """
    weight_files.require_network(path)
    names = weight_files.class_names(path)
    split = [name.rpartition(".") for name in names if name.startswith("ultralytics.")]
    lacking = [f"{module}.{name}" for module, _, name in split if not hasattr(sys.modules.get(module), name)]
    if lacking:
        return f"it needs {', '.join(lacking[:3])}, which Ultralytics {__version__} does not have"
    return weight_files.others(names)


def copy_tensors(model: DetectionModel, source: DetectionModel, seed: int) -> None:
    """Copy the tensors of `source` that fit into `model`, in place, by Ultralytics' own `load`.

    Args:
        seed: of the layers of class scores, which `load` makes anew, at random, where the classes are others.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model.load(source, verbose=False)
