"""What a training minimises: the samples of an epoch, and what of the teachers is matched beside their labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from torch import nn
from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils.loss import E2ELoss, v8DetectionLoss
from ultralytics.utils.torch_utils import unwrap_model

from alambique.config import detect, heads
from alambique.files import sha256
from alambique.layout import WEIGHTS
from alambique.softlabels.reader import Cache
from alambique.tasks.yolo import network, samples, score_calibration
from alambique.tasks.yolo.dataset import Sample, YoloDataset
from alambique.tasks.yolo.distillation_loss import DistillationLoss


class DistillationConfig(NamedTuple):
    """Distillation signals of a training run: cached soft labels, online neck features, or none.

    Attributes:
        loss: makes that of one branch, as `DistillationLoss`, of the model and how many anchors a box may be given; it
            needs `samples.with_teacher_targets`. None: the head's own.
        features: weights of a teacher whose neck's features are matched at every batch, by Ultralytics' own
            distillation (`distill_model`): the teacher is online.
        feature_weight: of that, beside the head's loss (`dis`).
    """

    loss: Callable[..., v8DetectionLoss] | None = None
    features: Path | None = None
    feature_weight: float = 0.0

    def settings(self) -> dict[str, object]:
        """Upstream's settings for it."""
        return {} if self.features is None else {"distill_model": str(self.features), "dis": self.feature_weight}

    def criterion(self, model: DetectionModel) -> Any:
        """What `model` is trained by: the loss of each branch of its head, or of the only one."""
        if self.loss is None:
            return model.init_criterion()
        return E2ELoss(model, loss_fn=self.loss) if network.has_one_to_one(model) else self.loss(model)

    def identity(self) -> tuple[object, ...]:
        """What tells it from another, in any workspace."""
        return self.loss, self.features and sha256(self.features), self.feature_weight


NO_DISTILLATION = DistillationConfig()


class Objective(NamedTuple):
    """What is trained on.

    Attributes:
        samples: an epoch of them.
        distillation: from which teachers, if any.
    """

    samples: list[Sample]
    distillation: DistillationConfig = NO_DISTILLATION


def by_labels(dataset: YoloDataset, length: int | None = None) -> Objective:
    """The labelled images alone: an image without labels would pass for background.

    Args:
        length: samples of an epoch; None: each image once.
    """
    labelled = dataset.samples("train")
    return Objective(labelled if length is None else samples.repeated(labelled, length))


def by_teachers(
    dataset: YoloDataset, how: detect.Distill | heads.Distill, cache: Cache[Any], teachers: Sequence[Path]
) -> Objective:
    """By `distill.method`; an epoch has as many images in every case.

    Args:
        teachers: folders of checkpoints; features are those of the first.
    Raises:
        IntegrityError: an image has no soft labels.
    """
    objective = by_labels(dataset, dataset.size("train") + dataset.size("unlabelled"))
    if isinstance(how, heads.Distill):
        if how.method in {"pseudo", "hybrid"}:
            objective = Objective(dataset.samples("train") + samples.pseudo_labelled(dataset, cache, how.min_score))
    elif how.method in {"soft", "hybrid"}:
        objective = _by_soft_labels(dataset, how, cache)
    if how.method in {"feature", "hybrid"}:
        signals = objective.distillation._replace(features=teachers[0] / WEIGHTS, feature_weight=how.feature_weight)
        objective = objective._replace(distillation=signals)
    return objective


def _by_soft_labels(dataset: YoloDataset, how: detect.Distill, cache: Cache[Any]) -> Objective:
    probability = score_calibration.fit(dataset, cache)
    targets = samples.with_teacher_targets(dataset, cache, probability, how.min_label_probability)
    loss = partial(DistillationLoss, temperature=how.temperature, weight=how.weight, anneal=how.anneal)
    return Objective(targets, DistillationConfig(loss))


def bare_student(model: nn.Module) -> nn.Module:
    """The network that is trained, without what a training has wrapped around it."""
    bare = unwrap_model(model)
    inner: nn.Module = getattr(bare, "student_model", bare)
    return inner
