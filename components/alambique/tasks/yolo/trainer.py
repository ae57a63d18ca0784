"""Train a network with Ultralytics' loop, whatever its head: teachers, students, their control, and recovery.

What differs from upstream: the model is trained as it is given, nothing is written beside the data, boxes may carry the
teacher's logits, nothing reports to other services, equal seeds give equal weights, and a training that was killed goes
on from the state it left.
"""

from __future__ import annotations

import logging
import math
import tempfile
import time
from copy import copy, deepcopy
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader
from ultralytics.data import build_dataloader
from ultralytics.models.yolo.detect import DetectionValidator
from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils import RANK

from alambique.config.detect import Training
from alambique.errors import ConfigurationError
from alambique.evaluation.measures import Metrics
from alambique.layout import CURVES, WEIGHTS
from alambique.process import events
from alambique.process.resume_dir import state_file
from alambique.tasks import curves
from alambique.tasks.trainer_state import INTERVAL, NO_PRIOR, PriorTraining, StateFile
from alambique.tasks.yolo import distributed, network, trainer_state, upstream
from alambique.tasks.yolo.dataset import YoloDataset
from alambique.tasks.yolo.distillation_loss import DISTILLATION_LOSSES, PROGRESS, TEACHER, WEIGHT
from alambique.tasks.yolo.network import HEADS
from alambique.tasks.yolo.objective import Objective, bare_student
from alambique.tasks.yolo.sample_dataset import open_samples

log = logging.getLogger(__name__)


@distributed.on_every_gpu
def train(
    model: DetectionModel,
    dataset: YoloDataset,
    objective: Objective,
    target: Path,
    *,
    image_size: int,
    epochs: int,
    training: Training,
    seed: int,
    state_interval: float = INTERVAL,
    prior: PriorTraining = NO_PRIOR,
) -> Metrics:
    """Train `model`; write weights.pt (the moving average of its weights) and curves.csv into `target`.

    A state of the same training in $ALAMBIQUE_RESUME is where it begins.

    Args:
        model: keeps the layers it has; trained in place, unless several GPUs train copies of it.
        dataset: its val split is measured at the end; after every epoch with `training.patience`, and then the average
            of the best epoch is written.
        objective: an epoch's samples, and what of the teachers is matched.
        target: an existing folder.
        image_size: side of the input, pixels.
        epochs, training, seed: as in params.yaml.
        state_interval: least seconds between two states that are left in $ALAMBIQUE_RESUME.
        prior: trainings of the same stage before it, whose epochs count on.
    Returns:
        val_precision, val_recall, val_map50, val_map50_95 of what is kept; train_<loss> of the last epoch; images (of
        an epoch), epochs, steps.
    Raises:
        ConfigurationError: the training diverged, or the distillation loss stays at zero.
    """
    before = network.parameters(model)
    settings = _settings(model, image_size, epochs, training, seed)
    states = None
    if file := state_file():
        training_id = trainer_state.fingerprint(model, objective, dataset.root / "images", settings)
        states = StateFile(file, training_id, state_interval, prior)
    with tempfile.TemporaryDirectory() as scratch, upstream.quiet():
        trainer = SampleTrainer(model, dataset, objective, {**settings, "save_dir": scratch}, states, prior)
        trainer.train()
    trained = bare_student(trainer.ema.ema)
    if network.parameters(trained) != before:
        raise RuntimeError(f"training turned {before:,} parameters into {network.parameters(trained):,}")
    if RANK in {-1, 0}:
        network.save(trained, target / WEIGHTS, image_size)
        curves.write(target / CURVES, [*prior.curves, *trainer.curves])
    return trainer.summary()


def _settings(model: DetectionModel, image_size: int, epochs: int, training: Training, seed: int) -> dict[str, Any]:
    """Upstream's settings; those not named here stay as upstream has them."""
    return {
        "task": model.task,
        "imgsz": image_size,
        "epochs": epochs,
        "batch": training.batch,
        "nbs": training.batch,  # a step per batch, not per 64 images
        "optimizer": training.optimizer,
        "lr0": training.learning_rate,
        "warmup_epochs": min(3.0, epochs / 10),
        "warmup_bias_lr": 0.0,
        "mosaic": training.mosaic,
        "fliplr": training.flip,
        "close_mosaic": min(10, epochs // 3),
        "workers": training.workers,
        "seed": seed,
        "amp": "bf16" if torch.cuda.is_available() and torch.cuda.is_bf16_supported() else False,
        "nms": False if network.has_one_to_one(model) else None,  # measure the head that is exported
        "val": training.patience is not None,
        "patience": training.patience or 0,
        "plots": False,
        "model": "given.pt",  # never opened
    }


class SampleTrainer(distributed.ParallelTrainer):
    """Upstream's loop over samples, around a given model.

    Attributes:
        head: what the network's head is.
        curves: losses and learning rate of each epoch, and val's accuracy where it is measured each time.
        best_average: the moving average's weights and val's metrics of the best epoch, where epochs are compared.
    """

    def __init__(
        self,
        model: DetectionModel,
        dataset: YoloDataset,
        objective: Objective,
        settings: dict[str, Any],
        states: StateFile | None = None,
        prior: PriorTraining = NO_PRIOR,
    ) -> None:
        self.head = HEADS[dataset.head]
        self.dataset = dataset
        self.samples = {"train": objective.samples, "val": dataset.samples("val")}
        self.distillation = objective.distillation
        self.states = states
        self.before = prior.curves
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
        loader: DataLoader[Any] = build_dataloader(
            dataset, batch_size, self.args.workers, shuffle=augment, rank=rank, device=self.device
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
                log.info("resuming after epoch %d of %d, from %s", self.start_epoch, self.epochs, self.states.path)
                for epoch, row in enumerate([*self.before, *self.curves]):
                    events.emit(epoch, **row)  # subscribers of this try have not received them

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
            self.epoch_started = time.monotonic()
            trainer_state.seed_epoch(self)

    def save_metrics(self, metrics: dict[str, float]) -> None:
        """Called after each epoch: report it, and stop when distillation does nothing."""
        row = {name: float(value) for name, value in self.tloss.items()} | {"learning_rate": self.lr["lr/pg0"]}
        if self.args.val:
            row["map50_95"] = self.map50_95
        self.curves.append(row)
        curves.require_teacher(self.curves, DISTILLATION_LOSSES)
        events.emit(len(self.before) + self.epoch, **row)
        log.info("%s", curves.line(self.epochs, self.curves, time.monotonic() - self.epoch_started))

    def save_model(self) -> bool:
        """Called last after each epoch: remember the best one, and now and then write the whole state.

        Not after the last: what is left to do then takes less time than a state. No checkpoint of upstream's, with its
        date and paths.
        """
        if self.args.val and self.stopper.best_epoch == self.epoch + 1:
            self.best_average = {"ema": deepcopy(self.ema.ema.state_dict()), "metrics": dict(self.metrics)}
        if self.states and not self.stop and self.states.is_due():
            self.states.write(trainer_state.capture(self))
        return False

    def final_eval(self) -> None:
        """Called at the end: go back to the best epoch. The last one's measurement on val is not repeated."""
        if self.best_average and RANK in {-1, 0}:
            self.ema.ema.load_state_dict(self.best_average["ema"])
            self.metrics = self.best_average["metrics"]
            best, epochs = self.stopper.best_epoch, len(self.curves)
            log.info("epoch %d of %d was the best on val: mAP50-95 %.4f", best, epochs, self.map50_95)

    def _handle_nan_recovery(self, epoch: int) -> bool:
        """Called after each epoch, on every rank, before `save_metrics`."""
        self.tloss = distributed.mean(self.tloss)
        if not all(math.isfinite(value) for value in (*self.tloss.values(), self.loss.detach())):
            losses = ", ".join(f"{name} {float(value):.4g}" for name, value in self.tloss.items())
            raise ConfigurationError(f"training diverged in epoch {epoch + 1} ({losses}); lower training.learning_rate")
        return False

    def summary(self) -> Metrics:
        """The last epoch's losses, on rank 0 the accuracy on val of what is kept, and how much was trained."""
        names = {"precision": "precision", "recall": "recall", "map50": "mAP50", "map50_95": "mAP50-95"}
        keys = {name: f"metrics/{key}({self.head.metric})" for name, key in names.items()}
        return {
            **{f"val_{name}": self.metrics[key] for name, key in keys.items() if self.metrics},
            **{f"train_{name}": float(value) for name, value in self.tloss.items()},
            "images": len(self.samples["train"]),
            "epochs": len(self.before) + self.epoch + 1,
            "steps": len(self.train_loader) * (len(self.before) + self.epoch + 1),
        }
