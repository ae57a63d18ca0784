"""Views of digits, as a small classifier labels them."""

from __future__ import annotations

from alambique.config.classify import Augment, Mix, Network
from alambique.tasks.classify import soft_labels
from alambique.tasks.classify.cache import ViewLabels, ViewRecipe
from alambique.tasks.classify.dataset import Dataset
from alambique.tasks.classify.network import Checkpoint
from alambique.tasks.classify.preprocess import DESCRIPTION

PICO = Network(scale=(0.34, 0.125, 128))
SIZE = 32


def recipe(digits: Dataset, mix: Mix = "none", top_k: int = 10, views: int = 2) -> ViewRecipe:
    return ViewRecipe(
        teachers=["0" * 64],
        combine="average",
        data={split: digits.digest(split) for split in soft_labels.SPLITS},
        preprocessing=DESCRIPTION,
        classes=digits.classes,
        image_size=SIZE,
        top_k=top_k,
        views=views,
        augment=Augment(mix=mix),
    )


def cache(digits: Dataset, made: ViewRecipe, teacher: Checkpoint) -> dict[str, ViewLabels]:
    views = soft_labels.pool(digits, made)
    return {row.image: row for row in soft_labels.look([teacher.model], views, range(len(views)), made)}
