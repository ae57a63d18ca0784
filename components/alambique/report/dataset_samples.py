"""Which samples a dataset's page shows: some of each class, and those that a careful person would look at again.

They are chosen from the tables of the task's facts, at random with a fixed seed where there are many.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from alambique.data.dataset import LABELLED
from alambique.data.summary import samples_name
from alambique.report.thumbnails import Box

if TYPE_CHECKING:
    import pandas as pd

SHOWN = 8
"""Samples, or pairs of them, of each group."""
FEWEST = 4
"""Samples of a class where there are many classes."""
CLASSES = 16
"""Classes whose samples are shown; of more, those with the fewest."""
SEED = 0


class Shown(NamedTuple):
    """A sample: its path in the tables, words about it, and what of it is shown close up."""

    path: str
    about: str = ""
    focus: Box | None = None


class Group(NamedTuple):
    """Samples that belong under one heading.

    Attributes:
        title: of the group; the name of a class.
        note: a sentence about it.
        total: how many there are.
        rows: those that are shown; what is compared is in one row.
        class_index: gives its colour; None where the group is no class.
    """

    title: str
    note: str
    total: int
    rows: Sequence[tuple[Shown, ...]]
    class_index: int | None = None


def classes(tables: Mapping[str, pd.DataFrame], names: Sequence[str]) -> list[Group]:
    """Some samples of each class; of each labelled split where there are no classes."""
    members = _members(tables, names)
    paths = {str(name): list(dict.fromkeys(of_class)) for name, of_class in members.groupby("name")["path"]}
    order = sorted(paths, key=lambda name: (len(paths[name]), name)) if len(paths) > CLASSES else list(paths)
    shown = set(order[:CLASSES])
    each = min(max(FEWEST, 48 // max(len(shown), 1)), SHOWN)
    known = {name: index for index, name in enumerate(names)}
    listed = [name for name in (*names, *sorted(set(paths) - set(names))) if name in shown]
    return [
        Group(name, "", len(paths[name]), [(Shown(path),) for path in _some(paths[name], each)], known.get(name))
        for name in listed
    ]


def odd(tables: Mapping[str, pd.DataFrame], names: Sequence[str], pairs: Sequence[tuple[str, str]]) -> Iterator[Group]:
    """What a careful person would look at again; no group is empty.

    Args:
        names: of the classes.
        pairs: paths of near-duplicates: a sample of val or test, and one of another split.
    """
    name = samples_name(tables)
    groups = [
        Group(
            "Near-duplicates across splits",
            f"Left {name} of val or test, right what they resemble in another split. Networks that were trained on the "
            "right ones look better on the left ones than they are.",
            len(pairs),
            [tuple(map(Shown, pair)) for pair in pairs[:SHOWN]],
        ),
        *(_odd_texts(tables["texts"]) if name == "texts" else _odd_images(tables, names)),
        _copies(tables[name or "images"]),
    ]
    yield from (group for group in groups if group.total)


def _members(tables: Mapping[str, pd.DataFrame], names: Sequence[str]) -> pd.DataFrame:
    """A row for each labelled sample and class of it: path, name."""
    if "boxes" in tables:
        boxes = tables["boxes"][["path", "class"]].drop_duplicates()
        return boxes.assign(name=[_name(index, names) for index in boxes["class"]])
    if "labels" in tables:
        column = "class" if "class" in tables["labels"] else "label"
        return tables["labels"].dropna(subset=[column]).rename(columns={column: "name"})
    samples = tables[samples_name(tables) or "texts"]
    return samples[samples["split"].isin(LABELLED)].rename(columns={"split": "name"})


def _odd_images(tables: Mapping[str, pd.DataFrame], names: Sequence[str]) -> Iterator[Group]:
    images = tables["images"]
    unread = images[~images["readable"] | images["lost_values"].notna()]
    yield _group(
        "Images that cannot be read", "", unread, lambda row: "" if not row["readable"] else row["lost_values"]
    )
    if "boxes" in tables:
        yield _group(
            "Labels that cannot be read", "", images[images["label_error"].notna()], lambda row: str(row["label_error"])
        )
        yield from _odd_boxes(images, tables["boxes"], names)
        labelled = images[images["split"].isin(LABELLED) & images["label_error"].isna()]
        empty = labelled[~labelled["path"].isin(tables["boxes"]["path"])]
        yield _group("Images without objects", "They are background, or somebody forgot them.", empty)
        yield _group(
            "Repeated label rows",
            "A row that is in its file again counts once.",
            images[images["repeated_rows"] > 0],
            lambda row: f"{row['repeated_rows']} again",
        )
    yield _group("Images of one value", "All their pixels are equal.", images[images["one_value"]])
    if "class" in tables.get("labels", ()):
        yield _several_classes(tables["labels"].merge(images[["path", "sha256"]], on="path"))


def _odd_boxes(images: pd.DataFrame, boxes: pd.DataFrame, names: Sequence[str]) -> Iterator[Group]:
    known = boxes.merge(images[["path", "width", "height"]].dropna(), on="path")
    wide = (known["x2"] - known["x1"]) * known["width"].astype("float64")
    high = (known["y2"] - known["y1"]) * known["height"].astype("float64")
    known = known.assign(wide=wide, high=high, least=np.minimum(wide, high))
    yield _boxes("Boxes outside their image", "", known[~known["inside"]], names)
    smallest = known.sort_values(["least", "path", "x1", "y1"], kind="stable")
    yield _boxes("The smallest boxes", "Close up, the smallest first: are they objects?", smallest, names)


def _boxes(title: str, note: str, boxes: pd.DataFrame, names: Sequence[str]) -> Group:
    rows = [
        (
            Shown(
                row["path"],
                f"{_name(row['class'], names)}, {row['wide']:.3g} × {row['high']:.3g} px",
                (row["x1"], row["y1"], row["x2"], row["y2"]),
            ),
        )
        for row in boxes[:SHOWN].to_dict("records")
    ]
    return Group(title, note, len(boxes), rows)


def _odd_texts(texts: pd.DataFrame) -> Iterator[Group]:
    yield _group("Lines that are no samples", "", texts[texts["error"].notna()], lambda row: str(row["error"]))
    known = texts[texts["characters"].notna()].sort_values(["characters", "path"], kind="stable")
    for title, rows in (("The shortest texts", known[:SHOWN]), ("The longest texts", known[::-1][:SHOWN])):
        shown = [(Shown(row["path"], f"{row['characters']:,} characters"),) for row in rows.to_dict("records")]
        yield Group(title, "", len(known), shown)


def _copies(samples: pd.DataFrame) -> Group:
    """Samples that are in their split again, each beside its first copy."""
    again = samples[samples.duplicated(["split", "sha256"])]
    first = samples.drop_duplicates(["split", "sha256"]).set_index(["split", "sha256"])["path"]
    rows = [(Shown(first[row["split"], row["sha256"]]), Shown(row["path"])) for row in again[:SHOWN].to_dict("records")]
    return Group("More than once in a split", "Left the first, right the copy.", len(again), rows)


def _several_classes(labels: pd.DataFrame) -> Group:
    again = labels[labels.duplicated("sha256", keep=False)]
    groups = [rows for _, rows in again.groupby("sha256", sort=False) if rows["class"].nunique() > 1]
    rows = [tuple(Shown(row["path"], row["class"]) for row in group.to_dict("records")[:2]) for group in groups[:SHOWN]]
    return Group("In several classes", "Equal bytes, other labels.", len(groups), rows)


def _group(
    title: str, note: str, rows: pd.DataFrame, about: Callable[[Mapping[Any, Any]], str] = lambda row: ""
) -> Group:
    records = {row["path"]: row for row in rows.to_dict("records")}
    chosen = _some(list(records), SHOWN)
    return Group(title, note, len(rows), [(Shown(path, about(records[path])),) for path in chosen])


def _some(paths: Sequence[str], most: int) -> list[str]:
    """At most so many of them, at random, in their order."""
    if len(paths) <= most:
        return list(paths)
    return [paths[index] for index in sorted(np.random.default_rng(SEED).choice(len(paths), most, replace=False))]


def _name(index: int, names: Sequence[str]) -> str:
    return names[index] if 0 <= index < len(names) else f"class {index}"
