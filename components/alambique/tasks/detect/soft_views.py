"""Render augmented views of the train and unlabelled images, and keep what the teachers answer to them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from ultralytics.nn.tasks import DetectionModel

from alambique.config import Training
from alambique.data.dataset import Dataset
from alambique.errors import DataError
from alambique.softlabels.key import STRIDES, ViewsRecipe
from alambique.softlabels.schema import SoftViews
from alambique.tasks.detect import dense
from alambique.tasks.detect.samples import inside
from alambique.tasks.detect.views import ViewDataset, checksum


def augmentation(training: Training) -> dict[str, float]:
    """What a project sets of a training's augmentation, by Ultralytics' names."""
    return {"mosaic": training.mosaic, "fliplr": training.flip}


def look(
    models: Sequence[DetectionModel], data: Dataset, images: Sequence[Path], recipe: ViewsRecipe
) -> Iterator[SoftViews]:
    """The teachers' answers to every view, image by image, in the order of `images`.

    Args:
        models: the teachers in the recipe's order, in evaluation mode.
        data: the dataset of the images.
        images: files of its train and unlabelled splits.
        recipe: what to render and what to keep.
    Raises:
        DataError: a teacher has other anchors than a YOLO26, or only one of its two branches.
    """
    for model in models:
        if (strides := tuple(int(stride) for stride in model.stride)) != STRIDES:
            raise DataError(f"a teacher has levels of strides {strides}, a student {STRIDES}; give a teacher of these")
    views = ViewDataset(data, recipe)
    numbers = {name: number for number, name in enumerate(views.names)}
    for name in (inside(data, image) for image in images):
        pixels = [views[numbers[name], view]["img"] for view in range(recipe.views)]
        inputs = torch.stack(pixels).float() / 255  # as upstream's loop gives them to a student
        answers = dense.combine([dense.answer(model, inputs) for model in models], recipe.experts)
        yield dense.pack(name, [checksum(view) for view in pixels], answers, recipe.kept, recipe.width)
