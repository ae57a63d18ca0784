"""The product's stages as benchmarks run them: one thread, each stage once, each resumed where it was killed."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from alambique.data.dataset import Dataset
from alambique.errors import DataError
from alambique.layout import METRICS
from alambique.stages.resume import kept_on_laptop
from benchmarks import datasets


class Stage(NamedTuple):
    """A stage of dvc.yaml and its arguments."""

    name: str
    arguments: tuple[str, ...] = ()

    def metrics(self, project: Path) -> Path:
        """The file that appears when the stage is done."""
        return (project / METRICS / self.name / "-".join(self.arguments)).with_suffix(".json")


def do(project: Path, stages: Sequence[Stage]) -> None:
    """Do those of the stages that are not done."""
    for stage in stages:
        if not stage.metrics(project).exists():
            with kept_on_laptop(project, "-".join((stage.name, *stage.arguments))):
                importlib.import_module(f"alambique.stages.{stage.name}").run(project, *stage.arguments)


def begin() -> None:
    """Make this process one of one thread, and upstream quiet."""
    from ultralytics.utils import LOGGER, torch_utils

    LOGGER.setLevel(logging.WARNING)
    # When a training begins, upstream takes all cores but one, whatever the environment says.
    torch_utils.NUM_THREADS = 1


def given(data: Path | None, weights: Path | None, train: int = 1) -> tuple[Dataset, Path]:
    """The real images and the weights that a full run needs.

    Args:
        data: a dataset in YOLO layout.
        weights: a checkpoint.
        train: how many train images there are at least.
    Raises:
        DataError: either is missing.
    """
    if data is None or weights is None or not weights.is_file():
        raise DataError(
            f"the full benchmark trains on real images (--data is {data}) from COCO's weights (--weights is "
            f"{weights}); give --data PATH, a dataset in YOLO layout such as BCCD, and --weights PATH, a yolo26n.pt"
        )
    return datasets.given(data, {"train": train, "val": 1, "test": 1}), weights
