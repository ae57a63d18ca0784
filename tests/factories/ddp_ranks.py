"""Work for the ranks of a training of several processes, which import it by name."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from ultralytics.utils import RANK

from alambique.files import write_json
from alambique.tasks.yolo import trainer
from alambique.tasks.yolo.distillation_loss import DistillationLoss

SEEN: list[str] = []
"""The images of this rank's batches, one batch after the other."""


class Witness(DistillationLoss):
    """Remembers which images it is the loss of."""

    def loss(self, preds: dict[str, Tensor], batch: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        images = list(batch["im_file"])
        if SEEN[-len(images) :] != images:  # the head's other branch has not told yet
            SEEN.extend(images)
        return super().loss(preds, batch)


def train(**given: Any) -> dict[str, Any]:
    """`trainer.train`; leaves what this rank knows of it in the target, at <rank>.json."""
    metrics = trainer.train(**given)
    weights = torch.cat([parameter.detach().flatten() for parameter in given["model"].parameters()])
    write_json(given["target"] / f"{RANK}.json", {"metrics": metrics, "images": SEEN, "weights": weights.tolist()})
    return metrics


def second_raises(error: Exception) -> None:
    """The first rank would wait for the second for ten minutes."""
    if RANK == 1:
        raise error
    time.sleep(600)


def second_is_killed() -> None:
    """As the kernel does it when memory runs out."""
    if RANK == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(600)


def stay(folder: Path) -> None:
    """Leave this rank's process id at `folder`/<rank>.json, and go on for ten minutes."""
    write_json(folder / f"{RANK}.json", os.getpid())
    time.sleep(600)
