"""Train a network with a head for masks, keypoints or turned boxes: the loop of detectors over other samples."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from torch.utils.data import DataLoader
from ultralytics.data import build_dataloader
from ultralytics.models.yolo.detect import DetectionValidator
from ultralytics.models.yolo.obb import OBBValidator
from ultralytics.models.yolo.pose import PoseValidator
from ultralytics.models.yolo.segment import SegmentationValidator
from ultralytics.nn.tasks import DetectionModel

from alambique.config.heads import Head, Training
from alambique.data.dataset import Dataset
from alambique.evaluation.measures import Metrics
from alambique.tasks.detect import distributed, trainer
from alambique.tasks.detect.dataset import SampleDataset
from alambique.tasks.detect.teaching import Teaching
from alambique.tasks.heads.shapes import Sample, Shapes
from alambique.tasks.trainer_state import INTERVAL

VALIDATORS: dict[Head, type[DetectionValidator]] = {
    "segment": SegmentationValidator,
    "pose": PoseValidator,
    "obb": OBBValidator,
}


class HeadTeaching(Teaching):
    """What is heard of a teacher beside the head's own loss: its features, or nothing."""

    __slots__ = ()

    def criterion(self, model: DetectionModel) -> Any:
        """Ultralytics' loss of the head."""
        return model.init_criterion()


class HeadDataset(SampleDataset):
    """Upstream's dataset over samples in memory, see `SampleDataset`, with their points."""

    def get_labels(self) -> list[dict[str, Any]]:
        return [
            {**label, **_points(sample, self.data)}
            for label, sample in zip(super().get_labels(), self.samples, strict=True)
        ]


class HeadTrainer(trainer.SampleTrainer):
    """Upstream's loop over samples of a head; there is a class for each, as ranks are told by it what to be."""

    head: ClassVar[Head]
    dataset: Shapes

    def val(self, data: Dataset) -> Sequence[Sample]:
        assert isinstance(data, Shapes)  # noqa: S101  for the type checker
        return data.samples("val")

    def get_dataset(self) -> dict[str, Any]:
        return self.dataset.described()

    def get_dataloader(self, dataset_path: str, batch_size: int, rank: int, mode: str) -> DataLoader[Any]:
        augment = mode == "train"
        dataset = open_samples(
            self.samples[mode],
            self.dataset,
            imgsz=self.args.imgsz,
            batch_size=batch_size,
            augment=augment,
            hyp=self.args,
        )
        loader: DataLoader[Any] = build_dataloader(
            dataset, batch_size, self.args.workers, shuffle=augment, rank=rank, device=self.device
        )
        return loader

    def preprocess_batch(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Upstream's: nothing rides along with these objects."""
        plain: dict[str, Any] = distributed.ParallelTrainer.preprocess_batch(self, batch)
        return plain

    def get_validator(self) -> DetectionValidator:
        kind = VALIDATORS[self.head]
        return kind(self.test_loader, save_dir=self.save_dir, args=copy(self.args), _callbacks=self.callbacks)


class SegmentTrainer(HeadTrainer):
    head = "segment"
    measured = "M"


class PoseTrainer(HeadTrainer):
    head = "pose"
    measured = "P"


class ObbTrainer(HeadTrainer):
    head = "obb"


TRAINERS: dict[Head, type[HeadTrainer]] = {"segment": SegmentTrainer, "pose": PoseTrainer, "obb": ObbTrainer}


def open_samples(samples: Sequence[Sample], data: Shapes, **settings: Any) -> HeadDataset:
    """Samples as Ultralytics' trainers and validators read them."""
    return HeadDataset(list(samples), data=data.described(), task=data.head, **settings)


def train(
    model: DetectionModel,
    data: Shapes,
    samples: Sequence[Sample],
    target: Path,
    *,
    image_size: int,
    epochs: int,
    training: Training,
    seed: int,
    features: Path | None = None,
    feature_weight: float = 0.0,
    state_interval: float = INTERVAL,
) -> Metrics:
    """Train `model`; write weights.pt and curves.csv into `target`: see `tasks.detect.trainer.train`.

    Args:
        samples: an epoch.
        features: weights of a teacher whose neck's features are matched at every batch.
        feature_weight: of that, beside the head's own loss.
        state_interval: least seconds between two states that are left in $ALAMBIQUE_RESUME.
    """
    return trainer.train(
        model,
        data,
        samples,
        target,
        image_size=image_size,
        epochs=epochs,
        training=training,
        seed=seed,
        state_interval=state_interval,
        teaching=HeadTeaching(features=features, feature_weight=feature_weight),
        learner=TRAINERS[data.head],
    )


def _points(sample: Sample, data: dict[str, Any]) -> dict[str, Any]:
    if "kpt_shape" not in data:
        return {"segments": sample.points}
    return {"keypoints": np.array(sample.points, np.float32).reshape(-1, data["kpt_shape"][0], 3)}
