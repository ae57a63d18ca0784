"""Work for the ranks of a training of several processes, which import it by name."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from ultralytics.utils import RANK

from alambique.errors import DataError
from alambique.files import write_json
from alambique.tasks.detect import trainer
from alambique.tasks.detect.losses import SoftLabelLoss

SEEN: list[str] = []
"""The images of this rank's batches, one after the other; twice each, since a detector's head has two branches."""


class Witness(SoftLabelLoss):
    """Remembers which images it is the loss of."""

    def loss(self, preds: dict[str, Tensor], batch: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        if self.device == preds["scores"].device and preds["scores"].requires_grad:
            SEEN.extend(batch["im_file"])
        return super().loss(preds, batch)


def train(folder: Path, model: nn.Module, *args: Any, **kwargs: Any) -> dict[str, Any]:
    """`trainer.train`; leaves what this rank knows of it at `folder`/<rank>.json."""
    metrics = trainer.train(model, *args, **kwargs)  # type: ignore[arg-type]
    weights = torch.cat([parameter.detach().flatten() for parameter in model.parameters()])
    write_json(folder / f"{RANK}.json", {"metrics": metrics, "images": SEEN, "weights": weights.tolist()})
    return metrics


def fail_as_second(message: str) -> None:
    """The second rank fails, and the first would wait for it for a minute."""
    if RANK == 1:
        raise DataError(message)
    time.sleep(60)


def die_as_second() -> None:
    """The second rank is killed, as the kernel does when memory runs out."""
    if RANK == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


def stay(folder: Path) -> None:
    """Say who is here, and go on for a minute."""
    write_json(folder / f"{RANK}.json", os.getpid())
    time.sleep(60)
