"""Views of digits, with the soft labels of a small classifier."""

from __future__ import annotations

from alambique.config.classify import Augment, Mix, Network
from alambique.tasks.classifiers.soft_labels import COMBINE, SPLITS, ClassLabels
from alambique.tasks.images import soft_labels
from alambique.tasks.images.dataset import Dataset
from alambique.tasks.images.network import ClassifierNetwork
from alambique.tasks.images.preprocess import DESCRIPTION
from alambique.tasks.images.soft_labels import ViewRecipe

PICO = Network(scale=(0.34, 0.125, 128))
SIZE = 32


def recipe(digits: Dataset, mix: Mix = "none", top_k: int = 10, views: int = 2) -> ViewRecipe:
    return ViewRecipe(
        teachers=["0" * 64],
        combine=COMBINE,
        data={split: digits.digest(split) for split in SPLITS},
        preprocessing=DESCRIPTION,
        classes=digits.classes,
        image_size=SIZE,
        top_k=top_k,
        views=views,
        augment=Augment(mix=mix),
    )


def cache(digits: Dataset, recipe: ViewRecipe, teacher: ClassifierNetwork) -> dict[str, ClassLabels]:
    views = soft_labels.views_of_all(digits, recipe)
    rows = soft_labels.label_views([teacher.model], views, range(len(views)), recipe)
    return {row.sample: row for row in rows}
