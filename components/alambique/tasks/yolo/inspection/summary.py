"""What an inspection says, in words and rows, for the terminal and the page alike."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from alambique.errors import DataError
from alambique.files import read_json
from alambique.layout import CARD, SOFT_LABELS, TEACHERS
from alambique.softlabels.key import Recipe
from alambique.softlabels.reader import Cache, read_recipe
from alambique.tasks.yolo.inspection.statistics import Statistics
from alambique.tasks.yolo.samples import SAME_BOX
from alambique.tasks.yolo.soft_label_rows import BoxRecipe

Kind = TypeVar("Kind", bound=Recipe[Any])


class ClassRow(NamedTuple):
    """What is known of a class.

    Attributes:
        name: its name.
        labelled: boxes that people drew.
        recall: the share of them that the teachers have; None where there are none.
        predicted: the teachers' boxes whose likeliest class it is.
        share: of all these, 0 to 1.
    """

    name: str
    labelled: int
    recall: float | None
    predicted: int
    share: float


def facts(statistics: Statistics, teachers: Sequence[str]) -> dict[str, str]:
    """What the cache is, and by which teachers."""
    images, boxes = statistics.images.total(), int(statistics.predicted.sum())
    splits = ", ".join(f"{count:,} {split}" for split, count in sorted(statistics.images.items()))
    lines = {
        "key": statistics.recipe.digest(),
        "teachers": ", ".join(teachers) + (f" ({statistics.recipe.combine})" if len(teachers) > 1 else ""),
        "kept": _kept(statistics.recipe),
        "images": f"{images:,} ({splits})",
        "boxes": f"{boxes:,}, {boxes / max(images, 1):.1f} an image",
        "on disk": f"{statistics.size:,} bytes, {statistics.size / max(images, 1):,.0f} an image",
    }
    if statistics.recall is not None:
        lines["labels found"] = (
            f"{statistics.recall:.1%} of {statistics.labelled.sum():,} (same class, IoU ≥ {SAME_BOX})"
        )
    return lines


def _kept(recipe: BoxRecipe) -> str:
    what = f"up to {recipe.max_boxes} boxes an image with a score of at least {recipe.min_score}"
    size = " and ".join(map(str, recipe.image_sizes))
    return f"{what}; logits of {recipe.width} classes each; input {size} px"


def by_class(statistics: Statistics) -> list[ClassRow]:
    """A row per class, in index order."""
    total = max(int(statistics.predicted.sum()), 1)
    counts = (column.tolist() for column in (statistics.labelled, statistics.found, statistics.predicted))
    return [
        ClassRow(name, labelled, found / labelled if labelled else None, predicted, predicted / total)
        for name, labelled, found, predicted in zip(statistics.recipe.classes, *counts, strict=True)
    ]


def probabilities(logits: NDArray[np.float16], kept: NDArray[np.int16], classes: Sequence[str]) -> str:
    """A box's class probabilities, the likeliest first: RBC 0.83 · WBC 0.012."""
    probabilities = expit(logits.astype(np.float32))
    return " · ".join(f"{classes[index]} {value:.2g}" for index, value in zip(kept, probabilities, strict=True))


def open_cache(project: Path, kind: type[Kind]) -> tuple[Kind, Cache[Any]]:
    """How a project's cache was made, and the cache as it lies there.

    Raises:
        IntegrityError: it is not pulled, unfinished or damaged.
    """
    recipe = read_recipe(project / SOFT_LABELS, kind)
    return recipe, Cache.open(project / SOFT_LABELS, recipe)


def row_of(cache: Cache[Any], image: str) -> Any:
    """The row of an image.

    Raises:
        DataError: the cache knows no such image.
    """
    row = cache.get(image)
    if row is None:
        raise DataError(f"there are no soft labels for {image}; name an image as in {next(iter(cache), 'train/x.png')}")
    return row


def teacher_names(project: Path, recipe: BoxRecipe) -> list[str]:
    """The recipe's teachers by name and digest; by digest alone where models/teacher is not pulled, or has others."""
    names = {read_json(card)["sha256"]: card.parent.name for card in (project / TEACHERS).glob(f"*/{CARD}")}
    return [f"{names[digest]} {digest[:12]}" if digest in names else digest[:12] for digest in recipe.teachers]
