"""`alambique softlabels inspect` of detectors: a project's cache in the terminal and on a page, or one image of it."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from alambique.files import write_text
from alambique.layout import DATA
from alambique.tasks.yolo import pictures
from alambique.tasks.yolo.dataset import YoloDataset
from alambique.tasks.yolo.inspection import page, terminal
from alambique.tasks.yolo.inspection.statistics import collect
from alambique.tasks.yolo.inspection.summary import open_cache, row_of, teacher_names
from alambique.tasks.yolo.soft_label_rows import BoxRecipe


def show(project: Path, output: Path, console: Console) -> None:
    """Print what the cache holds, and write the page to `output`.

    Raises:
        IntegrityError: the cache is not pulled, unfinished or damaged.
        DataError: the dataset is not pulled.
    """
    (recipe, cache), data = open_cache(project, BoxRecipe), YoloDataset.load(project / DATA)
    statistics, teachers = collect(project, recipe, cache, data), teacher_names(project, recipe)
    terminal.print_inspection(statistics, teachers, console)
    write_text(output, page.render(cache, data, statistics, teachers))
    console.print(f"Pictures: {output}", highlight=False, soft_wrap=True)


def show_image(project: Path, image: str, console: Console) -> None:
    """Print every box of an image with its class probabilities.

    Raises:
        IntegrityError: the cache is not pulled, unfinished or damaged.
        DataError: the dataset is not pulled, or the cache has no boxes of such an image.
    """
    (_, cache), data = open_cache(project, BoxRecipe), YoloDataset.load(project / DATA)
    terminal.print_image(
        row_of(cache, image), pictures.labelled(data, data.root / "images" / image).detections, data.classes, console
    )
