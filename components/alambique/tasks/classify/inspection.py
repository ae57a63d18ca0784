"""`alambique softlabels inspect`: what teachers saw in views of images, beyond their labels."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import torch
from markupsafe import Markup
from rich.console import Console

from alambique import config
from alambique.config.classify import Params
from alambique.errors import DataError, IntegrityError
from alambique.files import read_json
from alambique.layout import CARD, DATA, SOFT_LABELS, TEACHERS
from alambique.report import pictures
from alambique.softlabels.reader import Cache
from alambique.softlabels.shards import read_recipe
from alambique.tasks.classification import inspection
from alambique.tasks.classification.inspection import Seen
from alambique.tasks.classification.loss import dense
from alambique.tasks.classify.cache import ViewLabels, ViewRecipe
from alambique.tasks.classify.dataset import Dataset
from alambique.tasks.classify.lessons import UNKNOWN


def show(project: Path, output: Path, console: Console) -> None:
    """Print what the cache holds, class by class, and write the page to `output`.

    Raises:
        IntegrityError: the cache is not pulled, unfinished or damaged.
        DataError: the dataset is not pulled.
    """
    (recipe, cache), data = _open(project), Dataset.load(project / DATA)
    labels = _labels(data)
    seen = inspection.look((_seen(row, labels, recipe) for row in cache.values()), recipe.classes)

    def picture(name: str) -> Markup:
        return pictures.shown(pictures.load(data.root / "images" / name), name)

    inspection.show(seen, _facts(project, recipe), output, picture, console)


def show_sample(project: Path, image: str, console: Console) -> None:
    """Print the probability of every class of an image, as it is and as students hear it.

    Raises:
        IntegrityError: the cache is not pulled, unfinished or damaged.
        DataError: the dataset is not pulled, or the cache has no such image.
    """
    (recipe, cache), data = _open(project), Dataset.load(project / DATA)
    if image not in cache:
        example = next(iter(cache), "train/class/x.png")
        raise DataError(f"there are no soft labels for {image}; name an image as in {example}")
    one = _seen(cache[image], _labels(data), recipe)
    inspection.show_sample(one, recipe.classes, cast("Params", config.load(project)).distill.temperature, console)


def _open(project: Path) -> tuple[ViewRecipe, Cache[ViewLabels]]:
    """The cache as it lies there, and how it was made."""
    folder = project / SOFT_LABELS
    recipe = read_recipe(folder, ViewRecipe)
    if recipe.augment.mix != "none":
        raise IntegrityError(
            f"{folder} holds views of two images each ({recipe.augment.mix}), of which none tells of one image; "
            "soft_labels.augment.mix: none would"
        )
    return recipe, Cache.open(folder, recipe)


def _labels(data: Dataset) -> dict[str, int]:
    return {data.inside(image): data.label(image) for image in data.images("train")}


def _seen(row: ViewLabels, labels: dict[str, int], recipe: ViewRecipe) -> Seen:
    """An image's classes, mean over its views."""
    kept, rest = (torch.from_numpy(each.astype("float32")) for each in (row.logits, row.rest))
    classes = torch.from_numpy(row.classes.astype("int64"))
    chances = dense(kept, classes, rest, len(recipe.classes)).double().softmax(1).mean(0)
    return Seen(row.image, labels.get(row.image, UNKNOWN), chances.numpy())


def _facts(project: Path, recipe: ViewRecipe) -> dict[str, str]:
    names = {read_json(card)["sha256"]: card.parent.name for card in (project / TEACHERS).glob(f"*/{CARD}")}
    told = (f"{names[digest]} {digest[:12]}" if digest in names else digest[:12] for digest in recipe.teachers)
    return {
        "teachers": ", ".join(told),
        "views": f"{recipe.views} of each image, {recipe.image_size} px",
        "classes kept": f"{recipe.width} of {len(recipe.classes)}",
    }
