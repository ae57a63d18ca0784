"""Train any torch module on an objective: the loop of the tasks that have no upstream trainer of their own.

Equal seeds give equal weights, and a training that was killed goes on from the state it left: what is random in an
interval (see `tasks.intervals`) is drawn from the seed and the interval's number.
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
from torch.utils.data import DataLoader, Dataset

from alambique.config.params import Training
from alambique.errors import ConfigurationError
from alambique.evaluation.measures import Metrics
from alambique.layout import CURVES
from alambique.process.resume_dir import state_file
from alambique.tasks import curves
from alambique.tasks.intervals import Intervals, IntervalSampler, drawn_seed, seeded
from alambique.tasks.trainer_state import INTERVAL, NO_PRIOR, PriorTraining, State, StateFile

WARMUP = 0.05
"""The share of the steps over which the learning rate rises."""
LONGEST_STEP = 1.0
"""The norm that gradients are clipped to."""

Batch = dict[str, Tensor]

log = logging.getLogger(__name__)


class Samples(Protocol):
    """Samples: a list, or what makes each when it is asked for."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


class TrainingObjective(NamedTuple):
    """What a training minimises, and on which samples.

    Attributes:
        epoch_dataset: the samples as they are in an epoch, a pass over all of them, by its number from 0: another view
            of each image, say. Equally many in every epoch; called for every sample, so that it must cost nothing.
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
    steps: int,
    training: Training,
    seed: int,
    measure: Measure,
    state_interval: float = INTERVAL,
    prior: PriorTraining = NO_PRIOR,
) -> Metrics:
    """Train `model` in place; write curves.csv into `target`.

    A state of the same training in $ALAMBIQUE_RESUME is where it begins. With `training.patience`, the weights that
    were best on val are kept. The network is on the CPU and in evaluation mode afterwards.

    Returns:
        val_* as measured at the end; train_*, the last interval's losses; images (number of samples); steps; what
        `Intervals.outcome` says.
    Raises:
        ConfigurationError: the training diverged, or the teacher does nothing.
    """
    training_run = TrainingRun(model, objective, steps, training, seed, measure, prior)
    if file := state_file():
        training_run.states = StateFile(
            file, _fingerprint(model, objective, steps, training, seed), state_interval, prior
        )
    training_run.run()
    model.cpu().eval()
    curves.write(target / CURVES, [*prior.curves, *training_run.curves])
    with torch.inference_mode():
        figures = measure(model)
    return {
        **{f"val_{name}": value for name, value in figures.items()},
        **{f"train_{name}": value for name, value in training_run.losses.items()},
        "images": len(objective.epoch_dataset(0)),
        "steps": int(training_run.curves[-1][curves.STEP]),
        **training_run.intervals.outcome(len(training_run.curves), training_run.best[1], prior.steps),
    }


class TrainingRun:
    """A training under way.

    Attributes:
        curves: losses and learning rate of each interval, and val's figures where they are measured each time.
        losses: of the last interval.
        best: the figure on val that decides, the interval after which it was best, from 1, and its weights.
    """

    def __init__(
        self,
        model: nn.Module,
        objective: TrainingObjective,
        steps: int,
        training: Training,
        seed: int,
        measure: Measure,
        prior: PriorTraining,
    ) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model = model.to(self.device)
        self.objective, self.training, self.seed = objective, training, seed
        self.measure, self.prior = measure, prior
        self.intervals = Intervals.of(steps, training)
        samples = len(objective.epoch_dataset(0))
        self.sampler = IntervalSampler(samples, self.intervals.steps * training.batch, seed)
        self.states: StateFile | None = None
        self.curves: list[curves.Row] = []
        self.losses: dict[str, float] = {}
        self.best: tuple[float, int, dict[str, Tensor]] = (-math.inf, 0, {})
        self.optimizer = _optimizer(model, training)
        self.schedule = LambdaLR(self.optimizer, _cosine(self.intervals.ceiling))

    def run(self) -> None:
        if self.states and (state := self.states.read()):
            self._restore(state)
        intervals = self.intervals
        patience = intervals.patience or intervals.number
        while len(self.curves) < intervals.number and len(self.curves) - self.best[1] < patience:
            self._interval(len(self.curves))
            if self.states and len(self.curves) < intervals.number and self.states.is_due():
                self.states.write(self._capture())
        if self.best[2]:
            self.model.load_state_dict(self.best[2])

    def _interval(self, number: int) -> None:
        begun, seed = time.monotonic(), drawn_seed(self.seed, number)
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
                step = self.schedule.last_epoch + 1
                raise ConfigurationError(f"training diverged in step {step} ({losses}); lower training.learning_rate")
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(self.model.parameters(), LONGEST_STEP)
            self.optimizer.step()
            self.schedule.step()
            for name, part in parts.items():
                sums[name] = sums.get(name, 0.0) + part.item()
        steps, done = self.intervals.steps, (number + 1) * self.intervals.steps
        self.losses = {name: value / steps for name, value in sums.items()}
        row = {
            curves.STEP: self.prior.steps + done,
            **self.losses,
            "learning_rate": float(self.schedule.get_last_lr()[0]),
        }
        figures: dict[str, float] = {}
        if self.training.patience:
            self.model.eval()
            with torch.inference_mode():
                figures = self.measure(self.model)
            row |= figures
            if (value := next(iter(figures.values()))) > self.best[0]:
                self.best = (value, number + 1, deepcopy(self.model.state_dict()))
        self.curves.append(row)
        curves.require_teacher(self.curves, self.objective.divergences)
        curves.emit(row)
        seconds = (time.monotonic() - begun) / steps
        log.info("%s", curves.line(done, self.intervals.ceiling, row, {name: name for name in figures}, seconds))

    def _batches(self, interval: int) -> Iterator[Batch]:
        loader: DataLoader[Any] = DataLoader(
            EpochSamples(self.objective),
            self.training.batch,
            sampler=self.sampler.draw(interval),  # any sequence of what the dataset takes
            num_workers=self.training.workers,
            collate_fn=self.objective.collate,
            generator=seeded(self.seed, interval),
        )
        for batch in loader:
            yield {name: tensor.to(self.device, non_blocking=True) for name, tensor in batch.items()}

    def _capture(self) -> State:
        value, interval, weights = self.best
        return {
            "curves": self.curves,
            "losses": self.losses,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "best": {"value": value, "interval": interval, "weights": weights},
        }

    def _restore(self, state: State) -> None:
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.curves, self.losses = state["curves"], state["losses"]
        best = state["best"]
        self.best = (best["value"], best["interval"], best["weights"])
        done = len(self.curves) * self.intervals.steps
        log.info("resuming after step %d of %d", done, self.intervals.ceiling)
        for row in [*self.prior.curves, *self.curves]:
            curves.emit(row)  # the reader of this try's event file has none of them yet


class EpochSamples(Dataset[Any]):
    """An objective's samples by epoch and index, as `IntervalSampler.draw` gives them."""

    def __init__(self, objective: TrainingObjective) -> None:
        self.epoch_dataset = objective.epoch_dataset

    def __getitem__(self, place: tuple[int, int]) -> Any:
        epoch, index = place
        return self.epoch_dataset(epoch)[index]


def _fingerprint(model: nn.Module, objective: TrainingObjective, steps: int, training: Training, seed: int) -> str:
    """sha256 over what a training's result depends on."""
    digest = hashlib.sha256(repr((torch.__version__, objective.identity, steps, training, seed)).encode())
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
