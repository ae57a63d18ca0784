"""Trainings of which one thing is known beforehand: what the teacher says, or how accurate the network is each time."""

from __future__ import annotations

from typing import Any

import numpy as np

from alambique.tasks.yolo.dataset import YoloDataset
from alambique.tasks.yolo.objective import NO_DISTILLATION, DistillationConfig, Objective
from alambique.tasks.yolo.trainer import SampleTrainer


def with_teacher(
    data: YoloDataset, logit: float = 1.0, distillation: DistillationConfig = NO_DISTILLATION
) -> Objective:
    """The labelled train images; the teacher gives `logit` to the label's class, and 0 to the others."""
    samples = []
    for sample in data.samples("train"):
        logits = np.zeros((len(sample.boxes), len(data.classes)), np.float32)
        np.put_along_axis(logits, sample.targets.astype(int), logit, 1)
        whole = np.ones((len(logits), 1), np.float32)
        samples.append(sample._replace(targets=np.hstack((sample.targets, whole, logits))))
    return Objective(samples, distillation)


def with_accuracy(*map50_95: float) -> type[SampleTrainer]:
    """A trainer which finds these accuracies on val, interval by interval."""

    class Scripted(SampleTrainer):
        def validate(self) -> tuple[dict[str, Any], float]:
            metrics, _ = super().validate()
            value = map50_95[self.epoch]
            return {**metrics, "metrics/mAP50-95(B)": value}, value

    return Scripted
