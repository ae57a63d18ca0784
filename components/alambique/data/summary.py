"""A dataset in a few lines: what each split and class holds, and what a careful person would look at again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

from alambique.data.dataset import SPLITS
from alambique.data.source_files import some

if TYPE_CHECKING:
    import pandas as pd

CLASSES = 20
"""Classes that get a line each; of more, those with the fewest objects."""


class Split(NamedTuple):
    """What a split holds: samples, and where they have boxes the objects, and the images without any."""

    name: str
    samples: int
    objects: int | None = None
    empty: int | None = None


def lines(tables: Mapping[str, pd.DataFrame]) -> list[str]:
    """Lines about the tables that a task's contract judges; none for a task without a table of images or texts."""
    if (name := samples_name(tables)) is None:
        return []
    found = ["the dataset:", *(_split_line(split, name) for split in splits(tables)), *_classes(tables.get("counts"))]
    strange = odd(tables)
    return [*found, *(["what looks odd:", *(f"  - {line}" for line in strange)] if strange else [])]


def samples_name(tables: Mapping[str, pd.DataFrame]) -> str | None:
    """The table of samples, which is called as they are: images or texts; None if there is none."""
    return next((name for name in ("images", "texts") if name in tables), None)


def odd(tables: Mapping[str, pd.DataFrame]) -> list[str]:
    """What a careful person would look at again, a line each."""
    name = samples_name(tables)
    samples = [] if name is None else list(_odd_samples(tables[name], name))
    return [*samples, *_odd_boxes(tables), *_odd_classes(tables)]


def splits(tables: Mapping[str, pd.DataFrame]) -> list[Split]:
    """The splits that have samples."""
    samples, boxes = tables[samples_name(tables) or "images"], tables.get("boxes")
    rows = []
    for name in SPLITS:
        count = int((samples["split"] == name).sum())
        if not count:
            continue
        if boxes is None or name == "unlabelled":
            rows.append(Split(name, count))
        else:
            here = boxes[boxes["split"] == name]
            rows.append(Split(name, count, len(here), count - int(here["path"].nunique())))
    return rows


def _split_line(split: Split, samples: str) -> str:
    line = f"  {split.name}: {split.samples:,} {samples}"
    if split.objects is None or split.empty is None:
        return line
    share = split.empty / split.samples
    return f"{line}, {split.objects:,} objects, {split.empty:,} images ({share:.0%}) without any"


def _classes(counts: pd.DataFrame | None) -> Iterator[str]:
    """A line for each class: how many each labelled split has."""
    if counts is None or not len(counts):
        return
    table = by_class(counts)
    unit = str(counts.columns[-1])
    shown = table if len(table) <= CLASSES else table.loc[table.sum(axis=1).sort_values(kind="stable").index[:CLASSES]]
    which = "" if len(shown) == len(table) else f", the {CLASSES} rarest of {len(table)}"
    yield f"  {unit} of each class in {', '.join(map(str, table.columns))}{which}:"
    for name, row in shown.iterrows():
        yield f"    {name}: {', '.join(f'{count:,}' for count in row)}"


def by_class(counts: pd.DataFrame) -> pd.DataFrame:
    """How many of each class, a row each, every labelled split has, a column each."""
    rows = counts.assign(name=[path.partition("/")[2] for path in counts["path"]])
    table = rows.pivot_table(index="name", columns="split", values=str(counts.columns[-1]), sort=False)
    return table.astype("int64")


def _odd_samples(samples: pd.DataFrame, name: str) -> Iterator[str]:
    again = samples[samples.duplicated(["split", "sha256"])]
    if len(again):
        yield f"{len(again):,} {name} are in their split more than once: {_names(again)}"
    if "one_value" in samples and len(same := samples[samples["one_value"]]):
        yield f"{len(same):,} images have one value in all pixels: {_names(same)}"
    if "repeated_rows" in samples and (count := int(samples["repeated_rows"].sum())):
        where = samples[samples["repeated_rows"] > 0]
        yield f"{count:,} label rows are in their file more than once and count once: {_names(where)}"


def _odd_boxes(tables: Mapping[str, pd.DataFrame]) -> Iterator[str]:
    if "boxes" not in tables:
        return
    sizes = tables["images"][["path", "width", "height"]]
    boxes = tables["boxes"].merge(sizes, on="path")
    wide = (boxes["x2"] - boxes["x1"]) * boxes["width"].astype("float64")
    high = (boxes["y2"] - boxes["y1"]) * boxes["height"].astype("float64")
    small = boxes[(wide < 1) | (high < 1)]
    if len(small):
        yield f"{len(small):,} boxes are less than a pixel wide or high: {_names(small)}"


def _odd_classes(tables: Mapping[str, pd.DataFrame]) -> Iterator[str]:
    counts = tables.get("counts")
    if counts is not None and len(counts):
        table = by_class(counts)
        for split in table:
            if absent := [str(name) for name, count in table[split].items() if not count]:
                yield f"{len(absent)} classes have no {counts.columns[-1]} in {split}: {some(absent)}"
    labels = tables.get("labels")
    if labels is not None and "class" in labels and "images" in tables:
        known = labels.merge(tables["images"][["path", "sha256"]], on="path")
        several = known.groupby("sha256")["class"].transform("nunique") > 1
        if several.any():
            yield f"{int(several.sum()):,} images are in several classes by their bytes: {_names(known[several])}"


def _names(rows: pd.DataFrame) -> str:
    return some(list(dict.fromkeys(rows["path"])))
