"""Train a network with Ultralytics' loop, whatever its head: teachers, students, their control, and recovery.

What differs from upstream: the model is trained as it is given, nothing is written beside the data, boxes may carry the
teacher's logits, nothing reports to other services, equal seeds give equal weights, and a training that was killed goes
on from the state it left.
"""

from __future__ import annotations

import logging
import math
import os
import tempfile
import time
from copy import copy, deepcopy
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader
from ultralytics.data import build_dataloader
from ultralytics.data.build import InfiniteDataLoader, seed_worker
from ultralytics.models.yolo.detect import DetectionValidator
from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils import RANK, WORLD_SIZE

from alambique.config.detect import Training
from alambique.errors import ConfigurationError
from alambique.evaluation.measures import Metrics
from alambique.layout import CURVES, WEIGHTS
from alambique.process.resume_dir import state_file
from alambique.tasks import curves
from alambique.tasks.intervals import Intervals, IntervalSampler
from alambique.tasks.trainer_state import INTERVAL, NO_PRIOR, PriorTraining, StateFile
from alambique.tasks.yolo import distributed, network, trainer_state, upstream
from alambique.tasks.yolo.dataset import YoloDataset
from alambique.tasks.yolo.distillation_loss import DISTILLATION_LOSSES, PROGRESS, TEACHER, WEIGHT
from alambique.tasks.yolo.network import HEADS
from alambique.tasks.yolo.objective import Objective, bare_student
from alambique.tasks.yolo.sample_dataset import SampleDataset, open_samples

WARMUP = 0.1
LONGEST_WARMUP = 1000
"""Share of the training, and steps at most, over which the learning rate rises."""
WITHOUT_MOSAIC = 1 / 3
LONGEST_WITHOUT_MOSAIC = 1000
"""Share of the training, and steps at most, for which mosaic is off at its end."""

log = logging.getLogger(__name__)


@distributed.on_every_gpu
def train(
    model: DetectionModel,
    dataset: YoloDataset,
    objective: Objective,
    target: Path,
    *,
    image_size: int,
    steps: int,
    training: Training,
    seed: int,
    state_interval: float = INTERVAL,
    prior: PriorTraining = NO_PRIOR,
) -> Metrics:
    """Train `model`; write weights.pt (the moving average of its weights) and curves.csv into `target`.

    A state of the same training in $ALAMBIQUE_RESUME is where it begins.

    Args:
        model: keeps the layers it has; trained in place, unless several GPUs train copies of it.
        dataset: its val split is measured at the end; after every interval with `training.patience`, and then the
            average that was best is written.
        objective: the samples, and what of the teachers is matched.
        target: an existing folder.
        image_size: side of the input, pixels.
        steps, training, seed: as in params.yaml.
        state_interval: least seconds between two states that are left in $ALAMBIQUE_RESUME.
        prior: trainings of the same stage before it, whose steps count on.
    Returns:
        val_precision, val_recall, val_map50, val_map50_95 of what is kept; train_<loss> of the last interval; images
        (number of samples); steps; what `Intervals.outcome` says.
    Raises:
        ConfigurationError: the training diverged, or the distillation loss stays at zero.
    """
    before = network.parameters(model)
    intervals = Intervals.of(steps, training)
    settings = _settings(model, image_size, intervals, training, seed)
    states = None
    if file := state_file():
        known = {**settings, "steps": intervals.steps}
        training_id = trainer_state.fingerprint(model, objective, dataset.root / "images", known)
        states = StateFile(file, training_id, state_interval, prior)
    with tempfile.TemporaryDirectory() as scratch, upstream.quiet():
        trainer = SampleTrainer(model, dataset, objective, intervals, {**settings, "save_dir": scratch}, states, prior)
        trainer.train()
    trained = bare_student(trainer.ema.ema)
    if network.parameters(trained) != before:
        raise RuntimeError(f"training turned {before:,} parameters into {network.parameters(trained):,}")
    if RANK in {-1, 0}:
        network.save(trained, target / WEIGHTS, image_size)
        curves.write(target / CURVES, [*prior.curves, *trainer.curves])
    return trainer.summary()


def _settings(
    model: DetectionModel, image_size: int, intervals: Intervals, training: Training, seed: int
) -> dict[str, Any]:
    """Upstream's settings, whose epochs are intervals here; those not named here stay as upstream has them."""
    return {
        "task": model.task,
        "imgsz": image_size,
        "epochs": intervals.number,
        "batch": training.batch,
        "nbs": training.batch,  # a step per batch, not per 64 images
        "optimizer": training.optimizer,
        "lr0": training.learning_rate,
        "warmup_epochs": intervals.fraction(WARMUP, LONGEST_WARMUP),
        "warmup_bias_lr": 0.0,
        "mosaic": training.mosaic,
        "fliplr": training.flip,
        "close_mosaic": round(intervals.fraction(WITHOUT_MOSAIC, LONGEST_WITHOUT_MOSAIC)),
        "workers": training.workers,
        "seed": seed,
        "amp": "bf16" if torch.cuda.is_available() and torch.cuda.is_bf16_supported() else False,
        "nms": False if network.has_one_to_one(model) else None,  # measure the head that is exported
        "val": training.patience is not None,
        "patience": intervals.patience or 0,
        "plots": False,
        "model": "given.pt",  # never opened
    }


class SampleTrainer(distributed.ParallelTrainer):
    """Upstream's loop over samples, around a given model.

    Attributes:
        head: what the network's head is.
        intervals: what upstream takes for epochs.
        curves: losses and learning rate of each interval, and val's accuracy where it is measured each time.
        best_average: the moving average's weights and val's metrics where val was best, if it is measured each time.
    """

    def __init__(
        self,
        model: DetectionModel,
        dataset: YoloDataset,
        objective: Objective,
        intervals: Intervals,
        settings: dict[str, Any],
        states: StateFile | None = None,
        prior: PriorTraining = NO_PRIOR,
    ) -> None:
        self.head = HEADS[dataset.head]
        self.dataset = dataset
        self.samples = {"train": objective.samples, "val": dataset.samples("val")}
        self.distillation = objective.distillation
        self.states = states
        self.intervals, self.prior = intervals, prior
        self.curves: list[curves.Row] = []
        self.best_average: dict[str, Any] | None = None
        super().__init__(overrides={**settings, **self.distillation.settings()})
        self.model = model  # upstream builds a network only where it is given a name

    @property
    def map50_95(self) -> float:
        """The last measurement on val."""
        return float(self.metrics[f"metrics/mAP50-95({self.head.metric})"])

    def get_dataset(self) -> dict[str, Any]:
        return self.dataset.described()

    def get_validator(self) -> DetectionValidator:
        return self.head.validator(
            self.test_loader, save_dir=self.save_dir, args=copy(self.args), _callbacks=self.callbacks
        )

    def get_dataloader(self, dataset_path: str, batch_size: int, rank: int, mode: str) -> DataLoader[Any]:
        augment = mode == "train"
        settings = {"imgsz": self.args.imgsz, "batch_size": batch_size, "augment": augment, "hyp": self.args}
        dataset = open_samples(self.samples[mode], self.dataset, **settings)
        if augment:
            return self._endless(dataset, batch_size, max(rank, 0))
        loader: DataLoader[Any] = build_dataloader(
            dataset, batch_size, self.args.workers, shuffle=False, rank=rank, device=self.device
        )
        return loader

    def _endless(self, dataset: SampleDataset, batch_size: int, rank: int) -> DataLoader[Any]:
        """Upstream's loader, by intervals; its `build_dataloader` takes no sampler.

        Upstream may halve the batch for want of memory, and then makes a step of two: an interval keeps its samples.
        """
        sampler = IntervalSampler(len(dataset), self.intervals.steps * self.args.nbs, self.args.seed, rank, WORLD_SIZE)
        on_gpu = self.device.type == "cuda"
        workers = min(self.args.workers, (os.cpu_count() or 1) // max(torch.cuda.device_count(), 1))
        loader: DataLoader[Any] = InfiniteDataLoader(
            dataset=dataset,
            batch_size=batch_size,
            sampler=sampler,
            num_workers=workers,
            prefetch_factor=4 if workers else None,
            pin_memory=on_gpu,
            collate_fn=dataset.collate_fn,
            worker_init_fn=seed_worker,
            generator=torch.Generator(),
        )
        return loader

    def _setup_train(self) -> None:
        super()._setup_train()
        # Only now: the moving average was copied from the model, and it is what a checkpoint is made of.
        model = bare_student(self.model)
        model.criterion = self.distillation.criterion(model)
        if self.states and (state := self.states.read()):
            trainer_state.restore(self, state)
            if RANK in {-1, 0}:
                done = self.start_epoch * self.intervals.steps
                log.info("resuming after step %d of %d, from %s", done, self.intervals.ceiling, self.states.path)
                for row in [*self.prior.curves, *self.curves]:
                    curves.emit(row)  # subscribers of this try have not received them

    def preprocess_batch(self, batch: dict[str, Any]) -> dict[str, Any]:
        batch = super().preprocess_batch(batch)
        # See `Sample.targets`.
        batch["cls"], batch[WEIGHT], batch[TEACHER] = (
            batch["cls"][:, columns] for columns in (slice(1), slice(1, 2), slice(2, None))
        )
        batch[PROGRESS] = self.epoch / self.epochs
        return batch

    def run_callbacks(self, event: str) -> None:
        """Upstream's log to MLflow, DVC and its own platform, each with settings of its own: not one of them runs."""
        if event == "on_train_epoch_start":
            self.interval_started = time.monotonic()
            trainer_state.seed_interval(self)

    def save_metrics(self, metrics: dict[str, float]) -> None:
        """Called after each interval: report it, and stop when distillation does nothing."""
        steps, done = self.intervals.steps, (self.epoch + 1) * self.intervals.steps
        row = {curves.STEP: self.prior.steps + done, **{name: float(value) for name, value in self.tloss.items()}}
        row["learning_rate"] = self.lr["lr/pg0"]
        if self.args.val:
            row["map50_95"] = self.map50_95
        self.curves.append(row)
        curves.require_teacher(self.curves, DISTILLATION_LOSSES)
        curves.emit(row)
        seconds = (time.monotonic() - self.interval_started) / steps
        log.info("%s", curves.line(done, self.intervals.ceiling, row, {"map50_95": "mAP50-95"}, seconds))

    def save_model(self) -> bool:
        """Called last after each interval: remember the best one, and now and then write the whole state.

        Not after the last: what is left to do then takes less time than a state. No checkpoint of upstream's, with its
        date and paths.
        """
        if self.args.val and self.stopper.best_epoch == self.epoch + 1:
            self.best_average = {"ema": deepcopy(self.ema.ema.state_dict()), "metrics": dict(self.metrics)}
        if self.states and not self.stop and self.states.is_due():
            self.states.write(trainer_state.capture(self))
        return False

    def final_eval(self) -> None:
        """Called at the end: go back to where val was best. The last measurement on val is not repeated."""
        if self.best_average and RANK in {-1, 0}:
            self.ema.ema.load_state_dict(self.best_average["ema"])
            self.metrics = self.best_average["metrics"]

    def _handle_nan_recovery(self, epoch: int) -> bool:
        """Called after each interval, on every rank, before `save_metrics`."""
        self.tloss = distributed.mean(self.tloss)
        if not all(math.isfinite(value) for value in (*self.tloss.values(), self.loss.detach())):
            losses = ", ".join(f"{name} {float(value):.4g}" for name, value in self.tloss.items())
            step = (epoch + 1) * self.intervals.steps
            raise ConfigurationError(f"training diverged before step {step} ({losses}); lower training.learning_rate")
        return False

    def summary(self) -> Metrics:
        """The last interval's losses, on rank 0 the accuracy on val of what is kept, and how the training ended."""
        names = {"precision": "precision", "recall": "recall", "map50": "mAP50", "map50_95": "mAP50-95"}
        keys = {name: f"metrics/{key}({self.head.metric})" for name, key in names.items()}
        done, best = self.epoch + 1, self.stopper.best_epoch
        return {
            **{f"val_{name}": self.metrics[key] for name, key in keys.items() if self.metrics},
            **{f"train_{name}": float(value) for name, value in self.tloss.items()},
            "images": len(self.samples["train"]),
            "steps": self.prior.steps + done * self.intervals.steps,
            **(self.intervals.outcome(done, best, self.prior.steps) if RANK in {-1, 0} else {}),
        }
