"""`data.html`: a dataset as its page shows it, which needs nothing but itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from markupsafe import Markup

from alambique.data import summary
from alambique.report import dataset_plots, dataset_samples
from alambique.report.dataset_plots import SPLIT_COLORS
from alambique.report.dataset_samples import Group, Shown
from alambique.report.page import templates
from alambique.report.pictures import color
from alambique.report.thumbnails import LabelledSample, show

if TYPE_CHECKING:
    import pandas as pd

LARGEST = 5 * 10**6
"""Bytes of a page."""
SIDES = (320, 240, 160, 96, 48)
"""Longest side of an image on the page, pixels: the first with which the page is small enough."""
LONGEST = 600
"""Characters of a line."""
LISTED = 100
"""Classes that are counted one by one; of more, those with the fewest."""


class DatasetPage(NamedTuple):
    """What a dataset's page says.

    Attributes:
        title: the project's name, or where the dataset was read.
        task: that it was read for.
        read: lines about how it was read: its form, and what was left out.
        broken: rules of its contract that it breaks.
        classes: names by index.
        tables: of the task's facts.
        pairs: paths of near-duplicates: a sample of val or test, and one of another split.
    """

    title: str
    task: str
    read: Sequence[str]
    broken: Sequence[str]
    classes: Sequence[str]
    tables: Mapping[str, pd.DataFrame]
    pairs: Sequence[tuple[str, str]]


def render(page: DatasetPage, sample: Callable[[str], LabelledSample]) -> str:
    """The page's HTML of less than LARGEST bytes: no date, no address of another host, no script.

    Args:
        sample: a sample with its labels, by its path in the tables.
    """
    html = ""
    for side in SIDES:
        html = _render(page, sample, side)
        if len(html.encode()) < LARGEST:
            break
    return html


def _render(page: DatasetPage, sample: Callable[[str], LabelledSample], side: int) -> str:
    name = summary.samples_name(page.tables) or "images"
    splits = summary.splits(page.tables)
    rows = {row["path"]: row for row in page.tables[name].to_dict("records")}

    def shown(group: Group) -> dict[str, Any]:
        cells = [[_cell(one, group.class_index, rows, sample, side) for one in row] for row in group.rows]
        return {
            **group._asdict(),
            "color": None if group.class_index is None else color(group.class_index),
            "cells": cells,
        }

    environment = templates("alambique.report")
    odd = list(dataset_samples.odd(page.tables, page.classes, page.pairs))
    return environment.get_template("dataset.html.j2").render(
        page=page._replace(read=list(map(_cut, page.read)), broken=list(map(_cut, page.broken))),
        samples=name,
        splits=splits,
        total=sum(split.samples for split in splits),
        objects=None if "boxes" not in page.tables else len(page.tables["boxes"]),
        colors=SPLIT_COLORS,
        odd=list(map(_cut, summary.odd(page.tables))),
        counts=_counts(page.tables),
        size=_size(page.tables),
        plots=[(title, Markup(figure)) for title, figure in _plots(page.tables)],  # noqa: S704  by matplotlib
        classes=[shown(group) for group in dataset_samples.classes(page.tables, page.classes)],
        groups=[shown(group) for group in odd],
    )


def _cell(
    shown: Shown,
    index: int | None,
    rows: Mapping[str, Mapping[Any, Any]],
    sample: Callable[[str], LabelledSample],
    side: int,
) -> dict[str, Any]:
    """A sample as the page shows it, and its caption."""
    labelled = sample(shown.path)
    objects = f"{len(labelled.marks)} objects" if labelled.marks and shown.focus is None else ""
    label = rows[shown.path].get("label")
    words = [shown.path.removeprefix("images/"), label if isinstance(label, str) else "", objects, shown.about]
    return {"picture": show(labelled, side, shown.focus, index), "caption": _cut(" · ".join(filter(None, words)))}


def _cut(line: str) -> str:
    return line if len(line) <= LONGEST else f"{line[:LONGEST]}…"


def _counts(tables: Mapping[str, pd.DataFrame]) -> dict[str, Any] | None:
    """How many of each class the labelled splits have, and how long their bars are, in shares of the longest."""
    counts = tables.get("counts")
    if counts is None or not len(counts):
        return None
    table = summary.by_class(counts)
    fewest = table.sum(axis=1).sort_values(kind="stable").index[:LISTED]
    listed = table.loc[table.index.isin(fewest)]
    shares = table / table.sum(axis=0).clip(lower=1)
    lengths = (shares / (float(shares.to_numpy().max()) or 1.0)).loc[listed.index]
    rows = [
        (_cut(str(name)), list(zip(table.columns, numbers, parts, strict=True)))
        for name, numbers, parts in zip(
            listed.index, listed.to_numpy().tolist(), lengths.to_numpy().tolist(), strict=True
        )
    ]
    return {"unit": counts.columns[-1], "splits": list(table.columns), "rows": rows, "more": len(table) - len(listed)}


def _size(tables: Mapping[str, pd.DataFrame]) -> tuple[int, int] | None:
    """Width and height of all images, where they are of one size."""
    if "images" not in tables:
        return None
    sizes = tables["images"][["width", "height"]].dropna().drop_duplicates()
    return (int(sizes["width"].iloc[0]), int(sizes["height"].iloc[0])) if len(sizes) == 1 else None


def _plots(tables: Mapping[str, pd.DataFrame]) -> Iterator[tuple[str, str]]:
    """Titles and <svg> elements: sizes of texts; sizes of images and boxes, and how many boxes an image has."""
    if "texts" in tables:
        texts = tables["texts"].dropna(subset=["characters"])
        texts = texts[texts["characters"] > 0]
        if len(texts):
            yield (
                "Lengths of texts",
                dataset_plots.shares(_by_split(texts, "characters"), "characters", logarithmic=True),
            )
        return
    images = tables["images"].dropna(subset=["width", "height"])
    if len(images) and _size(tables) is None:
        sizes = {str(split): rows[["width", "height"]].to_numpy(float) for split, rows in images.groupby("split")}
        yield "Sizes of images", dataset_plots.image_sizes(sizes)
    if "boxes" not in tables or not len(tables["boxes"]):
        return
    boxes = tables["boxes"].merge(images[["path", "width", "height"]], on="path")
    boxes = boxes.assign(side=(boxes["area"] * boxes["width"] * boxes["height"]).astype(float) ** 0.5)
    if len(boxes := boxes[boxes["side"] > 0]):
        label = "√(width × height), pixels"
        yield "Sizes of boxes", dataset_plots.shares(_by_split(boxes, "side"), label, logarithmic=True)
    labelled = tables["images"][tables["images"]["split"] != "unlabelled"]
    per_image = labelled.assign(boxes=labelled["path"].map(tables["boxes"]["path"].value_counts()).fillna(0))
    yield "Objects of an image", dataset_plots.shares(_by_split(per_image, "boxes"), "objects")


def _by_split(rows: pd.DataFrame, column: str) -> dict[str, Any]:
    return {str(split): of_split[column].to_numpy(float) for split, of_split in rows.groupby("split", sort=False)}
