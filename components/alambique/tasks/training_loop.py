"""Train any torch module on an objective: the loop of the tasks that have no upstream trainer of their own.

Equal seeds give equal weights, and a training that was killed goes on from the state it left: what is random in an
epoch is drawn from the seed and the epoch's number.
"""

from __future__ import annotations

import hashlib
import logging
import math
import random
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader

from alambique.config.params import Training
from alambique.errors import ConfigurationError
from alambique.evaluation.measures import Metrics
from alambique.layout import CURVES
from alambique.process import events
from alambique.process.resume_dir import state_file
from alambique.tasks import curves
from alambique.tasks.trainer_state import INTERVAL, NO_PRIOR, PriorTraining, State, StateFile

WARMUP = 0.05
"""The share of the steps over which the learning rate rises."""
LONGEST_STEP = 1.0
"""The norm that gradients are clipped to."""

Batch = dict[str, Tensor]

log = logging.getLogger(__name__)


class Samples(Protocol):
    """An epoch's samples: a list, or what makes each when it is asked for."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


class TrainingObjective(NamedTuple):
    """What a training minimises, and on which samples.

    Attributes:
        epoch_dataset: an epoch's samples, by its number from 0; equally many in every epoch.
        collate: makes a batch of some of them.
        loss: its named parts, whose sum is minimised; called with the network in training mode.
        identity: fingerprint of the samples and the loss.
        divergences: names of the parts of the loss that measure the divergence from a teacher.
    """

    epoch_dataset: Callable[[int], Samples]
    collate: Callable[[list[Any]], Batch]
    loss: Callable[[nn.Module, Batch], dict[str, Tensor]]
    identity: str
    divergences: tuple[str, ...] = ()


Measure = Callable[[nn.Module], dict[str, float]]
"""A network's figures on val, the one that decides first (more is better); called with it in evaluation mode."""


def train(
    model: nn.Module,
    objective: TrainingObjective,
    target: Path,
    *,
    epochs: int,
    training: Training,
    seed: int,
    measure: Measure,
    state_interval: float = INTERVAL,
    prior: PriorTraining = NO_PRIOR,
) -> Metrics:
    """Train `model` in place; write curves.csv into `target`.

    A state of the same training in $ALAMBIQUE_RESUME is where it begins. With `training.patience`, the weights of the
    best epoch are kept. The network is on the CPU and in evaluation mode afterwards.

    Returns:
        val_* as measured at the end; train_*, the last epoch's losses; images (samples an epoch), epochs, steps.
    Raises:
        ConfigurationError: the training diverged, or the teacher does nothing.
    """
    training_run = TrainingRun(model, objective, epochs, training, seed, measure, prior)
    if file := state_file():
        training_run.states = StateFile(
            file, _fingerprint(model, objective, epochs, training, seed), state_interval, prior
        )
    training_run.run()
    model.cpu().eval()
    curves.write(target / CURVES, [*prior.curves, *training_run.curves])
    with torch.inference_mode():
        figures = measure(model)
    epochs_done = len(prior.curves) + len(training_run.curves)
    return {
        **{f"val_{name}": value for name, value in figures.items()},
        **{f"train_{name}": value for name, value in training_run.losses.items()},
        "images": training_run.samples,
        "epochs": epochs_done,
        "steps": training_run.steps * epochs_done,
    }


class TrainingRun:
    """A training under way.

    Attributes:
        curves: losses and learning rate of each epoch, and val's figures where they are measured each time.
        losses: of the last epoch.
        samples, steps: of each epoch.
    """

    def __init__(
        self,
        model: nn.Module,
        objective: TrainingObjective,
        epochs: int,
        training: Training,
        seed: int,
        measure: Measure,
        prior: PriorTraining,
    ) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model = model.to(self.device)
        self.objective, self.epochs, self.training, self.seed = objective, epochs, training, seed
        self.measure, self.before = measure, prior.curves
        self.states: StateFile | None = None
        self.curves: list[curves.Row] = []
        self.losses: dict[str, float] = {}
        self.best: tuple[float, int, dict[str, Tensor]] = (-math.inf, 0, {})
        self.samples = len(objective.epoch_dataset(0))
        self.steps = max(self.samples // training.batch, 1)
        self.optimizer = _optimizer(model, training)
        self.schedule = LambdaLR(self.optimizer, _cosine(self.steps * epochs))

    def run(self) -> None:
        if self.states and (state := self.states.read()):
            self._restore(state)
        patience = self.training.patience or self.epochs
        while len(self.curves) < self.epochs and len(self.curves) - self.best[1] < patience:
            begun = time.monotonic()
            self._epoch(len(self.curves))
            log.info("%s", curves.line(self.epochs, self.curves, time.monotonic() - begun))
            if self.states and len(self.curves) < self.epochs and self.states.is_due():
                self.states.write(self._capture())
        if self.best[2]:
            self.model.load_state_dict(self.best[2])
            log.info("epoch %d of %d was the best on val: %.4f", self.best[1], len(self.curves), self.best[0])

    def _epoch(self, number: int) -> None:
        seed = _drawn(self.seed, number)
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        self.model.train()
        sums: dict[str, float] = {}
        for batch in self._batches(number):
            with _precision(self.device):
                parts = self.objective.loss(self.model, batch)
            loss = torch.stack(list(parts.values())).sum()
            if not torch.isfinite(loss):
                losses = ", ".join(f"{name} {part.item():.4g}" for name, part in parts.items())
                raise ConfigurationError(
                    f"training diverged in epoch {number + 1} ({losses}); lower training.learning_rate"
                )
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(self.model.parameters(), LONGEST_STEP)
            self.optimizer.step()
            self.schedule.step()
            for name, part in parts.items():
                sums[name] = sums.get(name, 0.0) + part.item()
        self.losses = {name: value / self.steps for name, value in sums.items()}
        row = {**self.losses, "learning_rate": float(self.schedule.get_last_lr()[0])}
        if self.training.patience:
            self.model.eval()
            with torch.inference_mode():
                figures = self.measure(self.model)
            row |= figures
            if (value := next(iter(figures.values()))) > self.best[0]:
                self.best = (value, number + 1, deepcopy(self.model.state_dict()))
        self.curves.append(row)
        curves.require_teacher(self.curves, self.objective.divergences)
        events.emit(len(self.before) + number, **row)

    def _batches(self, epoch: int) -> Iterator[Batch]:
        loader: DataLoader[Any] = DataLoader(
            self.objective.epoch_dataset(epoch),  # type: ignore[arg-type]  # it needs no more than `Samples`
            self.training.batch,
            shuffle=True,
            num_workers=self.training.workers,
            collate_fn=self.objective.collate,
            drop_last=self.samples >= self.training.batch,  # batch norm cannot do with a last batch of one
            generator=torch.Generator().manual_seed(_drawn(self.seed, epoch)),
        )
        for batch in loader:
            yield {name: tensor.to(self.device, non_blocking=True) for name, tensor in batch.items()}

    def _capture(self) -> State:
        value, epoch, weights = self.best
        return {
            "curves": self.curves,
            "losses": self.losses,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "best": {"value": value, "epoch": epoch, "weights": weights},
        }

    def _restore(self, state: State) -> None:
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.curves, self.losses = state["curves"], state["losses"]
        best = state["best"]
        self.best = (best["value"], best["epoch"], best["weights"])
        log.info("resuming after epoch %d of %d", len(self.curves), self.epochs)
        for epoch, row in enumerate([*self.before, *self.curves]):
            events.emit(epoch, **row)  # the reader of this try's event file has none of them yet


def _fingerprint(model: nn.Module, objective: TrainingObjective, epochs: int, training: Training, seed: int) -> str:
    """sha256 over what a training's result depends on."""
    digest = hashlib.sha256(repr((torch.__version__, objective.identity, epochs, training, seed)).encode())
    for name, tensor in model.state_dict().items():
        digest.update(name.encode() + tensor.cpu().numpy().tobytes())
    return digest.hexdigest()


def _optimizer(model: nn.Module, training: Training) -> torch.optim.Optimizer:
    """Biases and norms do not decay."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [parameter for parameter in trained if parameter.ndim > 1], "weight_decay": 0.01},
        {"params": [parameter for parameter in trained if parameter.ndim <= 1], "weight_decay": 0.0},
    ]
    if training.optimizer == "SGD":
        return torch.optim.SGD(groups, training.learning_rate, momentum=0.9, nesterov=True)
    return torch.optim.AdamW(groups, training.learning_rate)


def _cosine(steps: int) -> Callable[[int], float]:
    """The learning rate's factor: up in a line, then down to 0 in half a cosine (Loshchilov & Hutter 2017)."""
    warmup = max(round(steps * WARMUP), 1)

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(steps - warmup, 1)))

    return factor


def _precision(device: torch.device) -> AbstractContextManager[object]:
    """bfloat16 where the GPU computes in it: its range is float32's, so that nothing has to be scaled."""
    if device.type == "cuda" and torch.cuda.is_bf16_supported():
        return torch.autocast("cuda", torch.bfloat16)
    return nullcontext()


def _drawn(seed: int, epoch: int) -> int:
    return int(np.random.SeedSequence((seed, epoch)).generate_state(1)[0])
