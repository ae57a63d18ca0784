"""Train a detector with Ultralytics' loop: the teacher, students, their control, and recovery after pruning.

What is ours: the model is trained as it is given, nothing is written beside the data, boxes may carry the teacher's
logits, nothing reports to anybody, and equal seeds give equal weights.
"""

from __future__ import annotations

import csv
import math
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader
from ultralytics.data import build_dataloader
from ultralytics.models.yolo.detect import DetectionTrainer
from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils.loss import E2ELoss, v8DetectionLoss

from alambique.config import Training
from alambique.data.dataset import Dataset
from alambique.errors import ConfigurationError
from alambique.layout import CURVES, WEIGHTS
from alambique.stages import events
from alambique.tasks import Metrics
from alambique.tasks.detect import network
from alambique.tasks.detect.dataset import SampleDataset
from alambique.tasks.detect.losses import KD_LOSS, TEACHER
from alambique.tasks.detect.samples import Sample, labelled

Loss = Callable[..., v8DetectionLoss]
"""Makes the loss of one branch, given the model and how many anchors the assigner may give to a box."""


def train(
    model: DetectionModel,
    data: Dataset,
    samples: list[Sample],
    target: Path,
    *,
    image_size: int,
    epochs: int,
    training: Training,
    seed: int,
    loss: Loss = v8DetectionLoss,
) -> Metrics:
    """Train `model`; write weights.pt (the moving average of its weights) and curves.csv into `target`.

    Args:
        model: trained in place, with the layers it has.
        data: its val split is measured at the end.
        samples: an epoch.
        target: an existing folder.
        image_size: side of the input, pixels.
        epochs, training, seed: as in params.yaml.
        loss: of one branch; `SoftLabelLoss` needs samples with teacher logits.
    Raises:
        ConfigurationError: the training diverged, or no box of an epoch had a teacher.
    """
    before = network.parameters(model)
    with tempfile.TemporaryDirectory() as scratch:
        trainer = SampleTrainer(model, data, samples, loss, _settings(scratch, image_size, epochs, training, seed))
        trainer.train()
    trained = trainer.ema.ema
    if network.parameters(trained) != before:
        raise RuntimeError(f"training turned {before:,} parameters into {network.parameters(trained):,}")
    network.save(trained, target / WEIGHTS, image_size)
    _write_curves(target / CURVES, trainer.curves)
    return trainer.summary()


def _settings(scratch: str, image_size: int, epochs: int, training: Training, seed: int) -> dict[str, Any]:
    """Upstream's settings; those not named here stay as upstream has them."""
    return {
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
        "nms": False,  # measure the NMS-free head, the one that is exported
        "val": False,
        "plots": False,
        "save_dir": scratch,
        "model": "given.pt",  # never opened
    }


class SampleTrainer(DetectionTrainer):  # type: ignore[misc]
    """Upstream's loop over samples, around a given model.

    Attributes:
        curves: losses and learning rate of each epoch.
    """

    def __init__(
        self, model: DetectionModel, data: Dataset, samples: list[Sample], loss: Loss, settings: dict[str, Any]
    ) -> None:
        self.dataset = data
        self.samples = {"train": samples, "val": labelled(data, "val")}
        self.branch_loss = loss
        self.curves: list[dict[str, float]] = []
        super().__init__(overrides=settings)
        self.model = model  # upstream builds a network only where it is given a name

    def get_dataset(self) -> dict[str, Any]:
        names = dict(enumerate(self.dataset.classes))
        return {"train": "train", "val": "val", "names": names, "nc": len(names), "channels": 3}

    def get_dataloader(self, dataset_path: str, batch_size: int, rank: int, mode: str) -> DataLoader[Any]:
        augment = mode == "train"
        dataset = SampleDataset(
            self.samples[mode],
            data=self.data,
            imgsz=self.args.imgsz,
            batch_size=batch_size,
            augment=augment,
            hyp=self.args,
        )
        loader: DataLoader[Any] = build_dataloader(
            dataset, batch_size, self.args.workers, shuffle=augment, rank=rank, device=self.device
        )
        return loader

    def _setup_train(self) -> None:
        super()._setup_train()
        # Only now: the moving average was copied from the model, and it is what a checkpoint is made of.
        self.model.criterion = E2ELoss(self.model, loss_fn=self.branch_loss)

    def preprocess_batch(self, batch: dict[str, Any]) -> dict[str, Any]:
        batch = super().preprocess_batch(batch)
        batch[TEACHER] = batch["cls"][:, 1:]
        batch["cls"] = batch["cls"][:, :1]
        return batch

    def save_metrics(self, metrics: dict[str, float]) -> None:
        """Called after each epoch: keep its losses, and stop when distillation does nothing."""
        losses = {name: float(value) for name, value in self.tloss.items()}
        if losses.get(KD_LOSS) == 0:
            raise ConfigurationError(
                f"no box of epoch {self.epoch + 1} had a teacher: {KD_LOSS} is 0; "
                "check the teacher's metrics, and lower soft_labels.min_score or distill.min_score"
            )
        self.curves.append({**losses, "learning_rate": self.lr["lr/pg0"]})
        events.emit(self.epoch, **self.curves[-1])

    def _handle_nan_recovery(self, epoch: int) -> bool:
        if not all(math.isfinite(value) for value in (*self.tloss.values(), self.loss.detach())):
            losses = ", ".join(f"{name} {float(value):.4g}" for name, value in self.tloss.items())
            raise ConfigurationError(f"training diverged in epoch {epoch + 1} ({losses}); lower training.learning_rate")
        return False

    def save_model(self) -> bool:
        return False  # `train` saves the end of it, without date and paths

    def final_eval(self) -> None:
        """Not needed: the last epoch ends with a measurement on val."""

    def run_callbacks(self, event: str) -> None:
        """None: upstream's log to MLflow, DVC and its own platform, each with settings of its own."""

    def summary(self) -> Metrics:
        """The last epoch's losses, the accuracy on val, and how much was trained."""
        names = {"precision": "precision(B)", "recall": "recall(B)", "map50": "mAP50(B)", "map50_95": "mAP50-95(B)"}
        return {
            **{f"val_{name}": self.metrics[f"metrics/{key}"] for name, key in names.items()},
            **{f"train_{name}": value for name, value in self.curves[-1].items() if name.endswith("_loss")},
            "images": len(self.samples["train"]),
            "epochs": self.epochs,
            "steps": len(self.train_loader) * self.epochs,
        }


def _write_curves(path: Path, curves: list[dict[str, float]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["epoch", *curves[0]])
        writer.writeheader()
        writer.writerows({"epoch": epoch, **row} for epoch, row in enumerate(curves, start=1))
