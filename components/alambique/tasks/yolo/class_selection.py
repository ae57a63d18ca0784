"""Class outputs of a detector reduced to the dataset's classes, in the dataset's order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn
from ultralytics.nn.tasks import DetectionModel

from alambique.errors import DataError
from alambique.tasks.yolo.dataset import YoloDataset
from alambique.tasks.yolo.network import class_names, kpt_shape


def select(model: DetectionModel, classes: list[str]) -> DetectionModel:
    """Keep the class outputs named in `classes`, in that order, in place.

    Each class has one output channel in the last convolution of every branch of the head, so the logits that stay are
    the very numbers that they were.

    Args:
        classes: the dataset's class names; matched exactly, letter by letter.
    Raises:
        DataError: the model lacks one of them, or has it twice.
    """
    known = class_names(model)
    if unclear := [name for name in classes if known.count(name) != 1]:
        raise DataError(
            f"the teacher lacks the dataset's {unclear}, or has them twice: its classes are {known}, and names are "
            "compared exactly. Rename the classes in data.yaml, give a teacher of all of them, or fine-tune this one "
            "with source: train"
        )
    kept = [known.index(name) for name in classes]
    head: Any = model.model[-1]
    for branch in (head.cv3, getattr(head, "one2one_cv3", None)):
        for layers in branch or ():  # a fused model has lost the branch that only training needs; others never had two
            _keep_outputs(layers[-1], kept)
    head.nc, head.no = len(kept), len(kept) + 4 * head.reg_max
    model.nc, model.names = len(kept), dict(enumerate(classes))
    model.yaml["nc"] = len(kept)
    return model


def require_same_head(model: DetectionModel, dataset: YoloDataset, weights: Path) -> None:
    """Refuse a network whose outputs beyond boxes are not the dataset's.

    Raises:
        DataError: it is no detector and has other classes, or has keypoints of another shape.
    """
    if dataset.head == "detect":
        return
    if (names := class_names(model)) != dataset.classes:
        raise DataError(
            f"{weights} has the classes {names}, but the dataset's are {dataset.classes}; fine-tune it (train)"
        )
    if dataset.head == "pose" and (shape := kpt_shape(model)) != dataset.kpt_shape:
        raise DataError(
            f"{weights} has keypoints of the shape {shape}, but those of data.yaml have {dataset.kpt_shape}"
        )


def _keep_outputs(convolution: nn.Conv2d, kept: list[int]) -> None:
    convolution.weight = nn.Parameter(convolution.weight.data[kept])
    if convolution.bias is not None:
        convolution.bias = nn.Parameter(convolution.bias.data[kept])
    convolution.out_channels = len(kept)
