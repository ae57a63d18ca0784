"""`alambique softlabels inspect` of detectors: a project's cache in the terminal and on a page, or one image of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from alambique.evaluation.measures import Measure
from alambique.files import write_text
from alambique.layout import DATA
from alambique.report.figures import points
from alambique.report.soft_labels import cache_facts, print_facts, print_histogram
from alambique.report.terminal import WIDTH
from alambique.softlabels.reader import open_cache
from alambique.tasks.yolo import pictures
from alambique.tasks.yolo.average_precision import Detections
from alambique.tasks.yolo.dataset import YoloDataset
from alambique.tasks.yolo.inspection import page
from alambique.tasks.yolo.inspection.statistics import (
    Statistics,
    by_class,
    collect,
    entropy,
    facts,
    owners,
    probabilities,
    row_of,
)
from alambique.tasks.yolo.soft_label_rows import BoxLabels, BoxRecipe


def show(project: Path, output: Path, measures: Mapping[str, Measure], console: Console) -> None:
    """Print what the cache holds, and write the page to `output`; `measures` are the task's.

    Raises:
        IntegrityError: the cache is not pulled, unfinished or damaged.
        DataError: the dataset is not pulled.
    """
    (recipe, cache), data = open_cache(project, BoxRecipe), YoloDataset.load(project / DATA)
    statistics = collect(recipe, cache, data)
    about = {**cache_facts(project, recipe, len(cache), "images", measures), **facts(statistics)}
    print_inspection(statistics, about, console)
    write_text(output, page.render(cache, data, statistics, about))
    console.print(f"Pictures: {output}", highlight=False, soft_wrap=True)


def show_image(project: Path, image: str, console: Console) -> None:
    """Print every box of an image with its class probabilities.

    Raises:
        IntegrityError: the cache is not pulled, unfinished or damaged.
        DataError: the dataset is not pulled, or the cache has no boxes of such an image.
    """
    (_, cache), data = open_cache(project, BoxRecipe), YoloDataset.load(project / DATA)
    print_image(
        row_of(cache, image), pictures.labelled(data, data.root / "images" / image).detections, data.classes, console
    )


def print_inspection(statistics: Statistics, about: Mapping[str, str], console: Console) -> None:
    """Print what the cache is, how sure its teachers are, and class by class what they see."""
    print_facts(about, console)
    print_histogram("confidence", "boxes", statistics.confidence, console)
    print_histogram("entropy of the classes", "boxes", statistics.entropy, console)
    console.print()
    console.print(class_table(statistics))


def print_image(row: BoxLabels, truth: Detections, classes: Sequence[str], console: Console) -> None:
    """Print an image's boxes, best first, with the probability of every class that was kept."""
    if not console.is_terminal:
        console.width = WIDTH
    title = f"{row.image}: {len(row.boxes)} boxes"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1))
    for column in ("x1", "y1", "x2", "y2", "entropy"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("labelled", no_wrap=True)
    table.add_column("probabilities")
    for corners, logits, kept, spread, owner in zip(
        row.boxes, row.logits, row.classes, entropy(row.logits), owners(row, truth), strict=True
    ):
        label = "" if owner is None else classes[int(truth.classes[owner])]
        words = map(escape, (label, probabilities(logits, kept, classes)))
        table.add_row(*(f"{share:.3f}" for share in corners), f"{spread:.3f}", *words)
    console.print(table)


def class_table(statistics: Statistics) -> Table:
    """Labelled boxes, how many of them were found, and what the teachers see, class by class."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1))
    table.add_column("class", no_wrap=True, overflow="ellipsis", max_width=30)
    for column in ("labelled", "found, %", "boxes", "of boxes, %"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in by_class(statistics):
        table.add_row(
            escape(row.name), f"{row.labelled:,}", points(row.recall), f"{row.predicted:,}", points(row.share)
        )
    return table
