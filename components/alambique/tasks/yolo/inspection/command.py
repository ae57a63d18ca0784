"""`alambique softlabels inspect`: a project's cache in the terminal and on a page, or one image of it."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from alambique.data.dataset import Dataset
from alambique.errors import DataError
from alambique.files import write_text
from alambique.layout import DATA, SOFT_LABELS
from alambique.softlabels.reader import Cache
from alambique.softlabels.shards import read_recipe
from alambique.tasks.detect import pictures
from alambique.tasks.detect.boxes import BoxRecipe, SoftLabels
from alambique.tasks.detect.inspection import page, terminal
from alambique.tasks.detect.inspection.inspect import inspect
from alambique.tasks.detect.inspection.summary import teacher_names


def show(project: Path, output: Path, console: Console) -> None:
    """Print what the cache holds, and write the page to `output`.

    Raises:
        IntegrityError: the cache is not pulled, unfinished or damaged.
        DataError: the dataset is not pulled.
    """
    (recipe, cache), data = _open(project), Dataset.load(project / DATA)
    seen, teachers = inspect(project, recipe, cache, data), teacher_names(project, recipe)
    terminal.print_inspection(seen, teachers, console)
    write_text(output, page.render(cache, data, seen, teachers))
    console.print(f"Pictures: {output}", highlight=False, soft_wrap=True)


def show_image(project: Path, image: str, console: Console) -> None:
    """Print every box of an image with its class probabilities.

    Raises:
        IntegrityError: the cache is not pulled, unfinished or damaged.
        DataError: the dataset is not pulled, or the cache has no boxes of such an image.
    """
    (_, cache), data = _open(project), Dataset.load(project / DATA)
    row = cache.get(image)
    if row is None:
        raise DataError(f"there are no soft labels for {image}; name an image as in {next(iter(cache), 'train/x.png')}")
    terminal.print_image(row, pictures.labelled(data, data.root / "images" / image), data.classes, console)


def _open(project: Path) -> tuple[BoxRecipe, Cache[SoftLabels]]:
    """The cache as it lies there, and how it was made."""
    folder = project / SOFT_LABELS
    recipe = read_recipe(folder, BoxRecipe)
    return recipe, Cache.open(folder, recipe)
