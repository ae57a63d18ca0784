"""`alambique softlabels inspect` of the other heads: the teacher's objects, in the terminal and on a page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from markupsafe import Markup
from rich.console import Console
from rich.table import Table

from alambique.evaluation.measures import Measure
from alambique.files import write_text
from alambique.layout import DATA
from alambique.report.page import templates
from alambique.report.pictures import color, load, shown
from alambique.report.soft_labels import cache_facts, print_facts
from alambique.softlabels.reader import open_cache
from alambique.tasks.yolo.average_precision import Detections
from alambique.tasks.yolo.dataset import HeadName, YoloDataset
from alambique.tasks.yolo.inspection.statistics import row_of
from alambique.tasks.yolo.pictures import Drawing, draw
from alambique.tasks.yolo.soft_label_rows import ObjectLabels, ObjectRecipe

SHOWN = 8
"""Images on the page, the unlabelled ones first: there are no other labels there."""
MIN_SCORE = 0.25
"""Objects below are not drawn."""


def show(project: Path, head: HeadName, output: Path, measures: Mapping[str, Measure], console: Console) -> None:
    """Print what the cache holds, and write a page with some of its images to `output`; `measures` are the task's.

    Raises:
        IntegrityError: the cache is not pulled, unfinished or damaged.
        DataError: the dataset is not pulled.
    """
    (recipe, cache), data = open_cache(project, ObjectRecipe), YoloDataset.load(project / DATA, head)
    counts: Counter[int] = Counter(int(index) for row in cache.values() for index in row.classes)
    scores = np.concatenate([row.scores for row in cache.values()])
    facts = {
        **cache_facts(project, recipe, len(cache), "images", measures),
        "images": f"{len(cache):,}",
        "objects": f"{len(scores):,}",
        "mean score": f"{scores.mean(dtype=float):.3f}" if len(scores) else "–",
        "least score": f"{recipe.min_score:g}",
        "input": f"{recipe.image_size} pixels",
    }
    print_facts(facts | {name: f"{counts[index]:,} objects" for index, name in enumerate(data.classes)}, console)
    names = sorted(cache, key=lambda name: (not name.startswith("unlabelled/"), name))[:SHOWN]
    page = templates("alambique.tasks.yolo.inspection", "alambique.report").get_template("objects.html.j2")
    classes = [(name, color(index), counts[index]) for index, name in enumerate(data.classes)]
    pictures = [(name, _shown(data, cache[name], recipe)) for name in names]
    write_text(output, page.render(facts=facts, classes=classes, pictures=pictures, sure=MIN_SCORE))
    console.print(f"Pictures: {output}", highlight=False, soft_wrap=True)


def show_image(project: Path, head: HeadName, image: str, console: Console) -> None:
    """Print every object that the teacher predicts in an image.

    Raises:
        IntegrityError: the cache is not pulled, unfinished or damaged.
        DataError: the dataset is not pulled, or the cache knows no such image.
    """
    (recipe, cache), data = open_cache(project, ObjectRecipe), YoloDataset.load(project / DATA, head)
    row: ObjectLabels = row_of(cache, image)
    table = Table("class", "score", "box", f"{recipe.numbers[0]} points", title=image)
    for box, score, index, points in zip(row.boxes, row.scores, row.classes, row.points, strict=True):
        words = (" ".join(f"{value:.3f}" for value in values) for values in (box, points))
        table.add_row(data.classes[index], f"{score:.3f}", *words)
    console.print(table)


def _shown(data: YoloDataset, row: ObjectLabels, recipe: ObjectRecipe) -> Markup:
    sure = row.scores >= MIN_SCORE
    boxes, scores = (column[sure].astype(np.float32) for column in (row.boxes, row.scores))
    detections = Detections(boxes, scores, row.classes[sure].astype(np.int64))
    points = row.points[sure].astype(np.float32).reshape(-1, *recipe.numbers)
    image = draw(load(data.root / "images" / row.image), Drawing(detections, list(points)), recipe.head, data.classes)
    return shown(image, row.image)
