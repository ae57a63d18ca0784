"""`alambique softlabels inspect` for images: the teachers' class probabilities, mean over the views of each image."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from markupsafe import Markup
from rich.console import Console

from alambique import config
from alambique.config.classify import Params
from alambique.errors import DataError, IntegrityError
from alambique.layout import DATA, SOFT_LABELS
from alambique.report import pictures
from alambique.softlabels.reader import Cache
from alambique.softlabels.shards import read_recipe
from alambique.tasks.classifiers import inspection
from alambique.tasks.classifiers.inspection import Inspection, SampleLabels
from alambique.tasks.classifiers.soft_labels import UNLABELLED, ClassLabels, mean_probabilities
from alambique.tasks.images.dataset import Dataset
from alambique.tasks.images.soft_labels import ViewRecipe


def show(project: Path, output: Path, console: Console) -> None:
    """Print a summary of the cache by class, and write the page to `output`.

    Raises:
        IntegrityError: the cache is not pulled, unfinished or damaged.
        DataError: the dataset is not pulled.
    """
    (recipe, cache), dataset = _open(project), Dataset.load(project / DATA)
    labels = _labels(dataset)
    samples = [_sample(row, labels, recipe) for row in cache.values()]

    def picture(name: str) -> Markup:
        return pictures.shown(pictures.load(dataset.root / "images" / name), name)

    inspection.show(Inspection(samples, recipe.classes), _facts(project, recipe), output, picture, console)


def show_sample(project: Path, image: str, console: Console) -> None:
    """Print the probability of every class of an image, at temperature 1 and at that of distillation.

    Raises:
        IntegrityError: the cache is not pulled, unfinished or damaged.
        DataError: the dataset is not pulled, or the cache has no such image.
    """
    (recipe, cache), dataset = _open(project), Dataset.load(project / DATA)
    if image not in cache:
        example = next(iter(cache), "train/class/x.png")
        raise DataError(f"there are no soft labels for {image}; name an image as in {example}")
    params = cast("Params", config.load(project))
    sample = _sample(cache[image], _labels(dataset), recipe)
    inspection.show_sample(sample, recipe.classes, params.distill.temperature, console)


def _open(project: Path) -> tuple[ViewRecipe, Cache[ClassLabels]]:
    """The cache, and how it was made."""
    folder = project / SOFT_LABELS
    recipe = read_recipe(folder, ViewRecipe)
    if recipe.augment.mix != "none":
        raise IntegrityError(
            f"{folder} holds views of two images each ({recipe.augment.mix}), of which none tells of one image; "
            "soft_labels.augment.mix: none would"
        )
    return recipe, Cache.open(folder, recipe)


def _labels(dataset: Dataset) -> dict[str, int]:
    return {dataset.inside(image): dataset.label(image) for image in dataset.images("train")}


def _sample(row: ClassLabels, labels: dict[str, int], recipe: ViewRecipe) -> SampleLabels:
    return SampleLabels(row.sample, labels.get(row.sample, UNLABELLED), mean_probabilities(row, len(recipe.classes)))


def _facts(project: Path, recipe: ViewRecipe) -> dict[str, str]:
    return {
        "teachers": inspection.teacher_names(project, recipe.teachers),
        "views": f"{recipe.views} of each image, {recipe.image_size} px",
        "classes kept": f"{recipe.width} of {len(recipe.classes)}",
    }
