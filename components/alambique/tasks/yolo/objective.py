"""What a training minimises: on which samples, and what of the teachers is matched beside their labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.isotonic import IsotonicRegression
from torch import nn
from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils.loss import E2ELoss, v8DetectionLoss
from ultralytics.utils.ops import xywh2xyxy
from ultralytics.utils.torch_utils import unwrap_model

from alambique.config import detect, heads
from alambique.files import sha256
from alambique.layout import WEIGHTS
from alambique.softlabels.reader import Cache
from alambique.tasks.yolo import network, samples
from alambique.tasks.yolo.average_precision import Matched, match
from alambique.tasks.yolo.dataset import Sample, YoloDataset
from alambique.tasks.yolo.distillation_loss import DistillationLoss
from alambique.tasks.yolo.soft_label_rows import BoxLabels, labels_of

MIN_BOXES = 10
"""Boxes of a class, below which it gets the curve of all classes together."""


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
        samples: each is drawn equally often.
        distillation: from which teachers, if any.
    """

    samples: list[Sample]
    distillation: DistillationConfig = NO_DISTILLATION


def by_labels(dataset: YoloDataset) -> Objective:
    """The labelled images alone: one without labels would pass for background."""
    return Objective(dataset.samples("train"))


def by_teachers(
    dataset: YoloDataset, how: detect.Distill | heads.Distill, cache: Cache[Any], teachers: Sequence[Path]
) -> Objective:
    """By `distill.method`; by features alone, of the labelled images.

    Args:
        teachers: folders of checkpoints; features are those of the first.
    Raises:
        IntegrityError: an image has no soft labels.
    """
    objective = by_labels(dataset)
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
    probability = fit_calibration(dataset, cache)
    targets = samples.with_teacher_targets(dataset, cache, probability, how.min_label_probability)
    loss = partial(DistillationLoss, temperature=how.temperature, weight=how.weight, anneal=how.anneal)
    return Objective(targets, DistillationConfig(loss))


def bare_student(model: nn.Module) -> nn.Module:
    """The network that is trained, without what a training has wrapped around it."""
    bare = unwrap_model(model)
    inner: nn.Module = getattr(bare, "student_model", bare)
    return inner


class ScoreCalibration:
    """Isotonic regression of being labelled on a teacher's score (Zadrozny & Elkan 2002), for each class.

    A score is no probability: a teacher can be right about three in four of the small objects to which it gives 0.3,
    and about one in ten of the large ones. One threshold for all then teaches that small objects are background.
    """

    def __init__(self, by_class: Sequence[tuple[NDArray[np.float32], NDArray[np.bool_]]]) -> None:
        """Fit a curve to each class: by index, teachers' scores and whether people labelled the boxes, (n,) each."""
        shared = _fit(*(np.concatenate(column) for column in zip(*by_class, strict=True)))
        self._curves = [_fit(scores, labelled) if len(scores) >= MIN_BOXES else shared for scores, labelled in by_class]

    def __call__(self, scores: NDArray[np.floating], classes: NDArray[np.integer]) -> NDArray[np.float32]:
        """The probability that people would have labelled each box, (n,)."""
        probabilities = np.zeros(len(scores), np.float32)
        for index in np.unique(classes):
            chosen = classes == index
            probabilities[chosen] = self._curves[index].predict(scores[chosen].astype(float))
        return probabilities


def fit_calibration(dataset: YoloDataset, cache: Mapping[str, BoxLabels]) -> ScoreCalibration:
    """Fit to the labels of val, which neither the teacher nor a student was trained on.

    Raises:
        IntegrityError: an image of val has no soft labels.
    """
    images = [_match(dataset.sample(image), labels_of(dataset, cache, image)) for image in dataset.images("val")]
    scores, classes, labelled = (
        np.concatenate(column)
        for column in zip(*((image.scores, image.classes, image.correct[:, 0]) for image in images), strict=True)
    )
    indices = range(len(dataset.classes))
    return ScoreCalibration([(scores[classes == index], labelled[classes == index]) for index in indices])


def _match(sample: Sample, labels: BoxLabels) -> Matched:
    return match(labels.detections, xywh2xyxy(sample.boxes), sample.targets[:, 0].astype(np.int64))


def _fit(scores: NDArray[np.float32], labelled: NDArray[np.bool_]) -> IsotonicRegression:
    # Without a single box there is nothing to fit: the score stays what it is.
    known = (scores, labelled) if len(scores) else ([0.0, 1.0], [0.0, 1.0])
    return IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(*known)
