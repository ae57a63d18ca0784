"""A detector that knows more classes than the dataset, or in another order, made one of exactly the dataset's."""

from __future__ import annotations

from typing import Any

from torch import nn
from ultralytics.nn.tasks import DetectionModel

from alambique.errors import DataError
from alambique.tasks.detect.network import class_names


def select(model: DetectionModel, classes: list[str]) -> DetectionModel:
    """Keep the class outputs named in `classes`, in that order, in place.

    Each class has one output channel in the last convolution of every branch of the head, so the logits that stay are
    the very numbers that they were.

    Args:
        model: a detector.
        classes: the dataset's class names; matched exactly, letter by letter.
    Raises:
        DataError: the model knows one of them not, or twice.
    """
    known = class_names(model)
    if unclear := [name for name in classes if known.count(name) != 1]:
        raise DataError(
            f"the teacher does not know the dataset's {unclear}, or not by one output: it knows {known}, and names are "
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


def _keep_outputs(convolution: nn.Conv2d, kept: list[int]) -> None:
    convolution.weight = nn.Parameter(convolution.weight.data[kept])
    if convolution.bias is not None:
        convolution.bias = nn.Parameter(convolution.bias.data[kept])
    convolution.out_channels = len(kept)
