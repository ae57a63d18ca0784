"""The full state of a training between two intervals, kept in a file, so that a killed one goes on and ends the same.

What is random in an interval is drawn from the seed and its number (see `seed_interval`), so that no generator's state
need be kept. `alambique.tasks.trainer_state` keeps the file. What upstream calls an epoch is an interval here.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import ultralytics
from torch import nn
from ultralytics.models.yolo.detect import DetectionTrainer
from ultralytics.utils import RANK
from ultralytics.utils.loss import E2ELoss
from ultralytics.utils.torch_utils import unwrap_model

from alambique.tasks.intervals import drawn_seed
from alambique.tasks.trainer_state import State
from alambique.tasks.yolo.objective import Objective


def fingerprint(model: nn.Module, objective: Objective, images: Path, settings: Mapping[str, Any]) -> str:
    """SHA-256 over what a training's result depends on.

    Args:
        model: with its first weights.
        objective: of an image's content only the size enters.
        images: the folder that the samples' images are told apart in: another workspace is another path.
        settings: upstream's, seed and length included, without paths.
    """
    signals = objective.distillation.identity()
    known = (torch.__version__, ultralytics.__version__, sorted(settings.items()), signals)
    digest = hashlib.sha256(repr(known).encode())
    for name, tensor in model.state_dict().items():
        digest.update(name.encode() + tensor.cpu().numpy().tobytes())
    for sample in objective.samples:
        digest.update(f"{sample.image.relative_to(images)} {sample.image.stat().st_size} {len(sample.boxes)}".encode())
        digest.update(sample.boxes.tobytes() + sample.targets.tobytes())
        for points in sample.points:
            digest.update(points.tobytes())
    return digest.hexdigest()


def seed_interval(trainer: DetectionTrainer) -> None:
    """Make what is random in the coming interval depend on seed, interval and rank alone.

    Augmentation draws from the generators of Python and NumPy, or from those of the loader's workers.
    """
    number = drawn_seed(trainer.args.seed, trainer.epoch, RANK + 1)
    random.seed(number)
    np.random.seed(number)
    torch.manual_seed(number)
    loader = trainer.train_loader
    loader.generator.manual_seed(number)
    loader.sampler.set_epoch(trainer.epoch)
    if not loader.num_workers:  # workers are ahead of the interval, and go on: starting them anew would lose their work
        loader.reset()


def capture(trainer: DetectionTrainer) -> State:
    """The state of a training after an interval; its tensors are the training's own."""
    return {
        "curves": trainer.curves,
        "model": unwrap_model(trainer.model).state_dict(),
        "ema": trainer.ema.ema.state_dict(),
        "ema_updates": trainer.ema.updates,
        "optimizer": trainer.optimizer.state_dict(),
        "best_fitness": float(trainer.stopper.best_fitness),
        "best_epoch": trainer.stopper.best_epoch,
        "best_average": trainer.best_average,
        "mosaic_partners": list(trainer.train_loader.dataset.buffer),
    }


def restore(trainer: DetectionTrainer, state: State) -> None:
    """Bring a training that is set up, but has not begun, into `state`."""
    done = len(state["curves"])
    model = unwrap_model(trainer.model)
    model.load_state_dict(state["model"])
    trainer.ema.ema.load_state_dict(state["ema"])
    trainer.ema.updates = state["ema_updates"]
    trainer.optimizer.load_state_dict(state["optimizer"])
    trainer.start_epoch = done
    trainer.scheduler.last_epoch = done - 1  # the loop steps it first
    if isinstance(model.criterion, E2ELoss):
        for _ in range(done):
            model.criterion.update()  # a schedule by intervals
    trainer.stopper.best_fitness, trainer.stopper.best_epoch = state["best_fitness"], state["best_epoch"]
    trainer.curves, trainer.best_average = state["curves"], state["best_average"]
    for index in state["mosaic_partners"]:
        trainer.train_loader.dataset.load_image(index)  # which remembers it for mosaics to come
