"""Run the teachers once over views of all images that students are trained on, and keep their top-k classes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from alambique.config.classify import Augment
from alambique.errors import IntegrityError
from alambique.tasks.classifiers import soft_labels
from alambique.tasks.classifiers.soft_labels import SPLITS, ClassLabels, ClassRecipe
from alambique.tasks.images.dataset import Dataset
from alambique.tasks.images.preprocess import planes
from alambique.tasks.images.views import Views

BATCH = 64
"""Views in a teacher's batch, about: all of an image are in the same."""


class ViewRecipe(ClassRecipe):
    """Everything that decides the soft labels of images.

    Attributes:
        image_size: side of a view, pixels: the teachers' input and the students'.
        views: of each image.
        augment: how they are drawn.
    """

    image_size: int
    views: int
    augment: Augment

    def describe(self) -> dict[str, str]:
        if self.augment.mix != "none":
            raise IntegrityError(
                f"the soft labels are of views of two images each ({self.augment.mix}), of which none tells of one "
                "image; soft_labels.augment.mix: none would"
            )
        return {"views": f"{self.views} of each image, {self.image_size} px", **super().describe()}


def views_of_all(dataset: Dataset, recipe: ViewRecipe) -> Views:
    """The views of all images that students are trained on, train's first: mixed in is any of them."""
    images = [image for split in SPLITS for image in dataset.images(split)]
    return Views(images, [dataset.inside(image) for image in images], recipe.image_size, recipe.augment)


def label_views(
    models: Sequence[nn.Module], views: Views, order: Sequence[int], recipe: ViewRecipe
) -> Iterator[ClassLabels]:
    """The teachers' soft labels of the images with these indices, in this order; models are moved to a GPU, if any."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    for model in models:
        model.to(device)
    images = max(BATCH // recipe.views, 1)
    for start in range(0, len(order), images):
        indices = order[start : start + images]
        drawn = [[views.view(index, number) for number in range(recipe.views)] for index in indices]
        pixels = np.stack([planes(view.pixels) for of_image in drawn for view in of_image])
        log_probabilities = torch.split(predict(models, torch.from_numpy(pixels)), recipe.views)
        for index, of_image, rows in zip(indices, drawn, log_probabilities, strict=True):
            yield soft_labels.keep(views.names[index], rows, [view.checksum for view in of_image], recipe)


@torch.inference_mode()
def predict(models: Sequence[nn.Module], images: Tensor) -> Tensor:
    """Log-probabilities of the classes, averaged over the teachers as probabilities, (batch, classes), on the CPU.

    Args:
        images: (batch, 3, size, size), RGB, 0 to 1.
    """
    device = next(models[0].parameters()).device
    logits = torch.stack([model(images.to(device)).float() for model in models])
    return soft_labels.average(logits.log_softmax(-1)).cpu()
