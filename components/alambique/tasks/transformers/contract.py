"""The data contract of a dataset of texts: its facts as tables, and the expectations on them."""

from __future__ import annotations

from collections import Counter
from typing import Any

import great_expectations.expectations as gxe
import pandas as pd

from alambique.data.dataset import LABELLED, SPLITS
from alambique.tasks.base import Facts
from alambique.tasks.transformers.dataset import Texts, key

TEXTS: dict[str, str] = {
    "split": "object",
    "path": "object",
    "error": "object",
    "characters": "Int64",  # absent where the line is no sample
    "label": "object",
    "found_in": "object",
}
COUNTS: dict[str, str] = {"split": "object", "path": "object", "texts": "int64"}


def facts(dataset: Texts) -> Facts:
    """A row for every line; `error` says why it is no sample, `found_in` lists every split that holds the same text."""
    rows: list[dict[str, Any]] = []
    splits: dict[str, list[str]] = {}
    keys: list[str] = []
    for split in SPLITS:
        for name, text, error in dataset.lines(split):
            same = key(text) if text else name
            held = splits.setdefault(same, [])
            if split not in held:
                held.append(split)
            keys.append(same)
            label, characters = (text.label, len(text.text.strip())) if text else (None, None)
            rows.append({"split": split, "path": name, "error": error, "characters": characters, "label": label})
    for row, same in zip(rows, keys, strict=True):
        row["found_in"] = ", ".join(splits[same])
    table = pd.DataFrame(rows, columns=list(TEXTS)).astype(TEXTS)
    counts = {split: int((table["split"] == split).sum()) for split in dataset.files}
    return Facts({"texts": table}, {"texts": _expectations()}, {"texts": counts})


def labelled_facts(dataset: Texts, min_texts_per_class: int) -> Facts:
    """The same of a dataset whose texts have classes: each one known, and enough of each.

    Args:
        min_texts_per_class: in each labelled split.
    """
    plain = facts(dataset)
    table = plain.tables["texts"]
    texts = Counter(zip(table["split"], table["label"], strict=True))
    rows = [
        {"split": split, "path": f"{split}/{name}", "texts": texts[split, name]}
        for split in LABELLED
        for name in dataset.classes
    ]
    counts = pd.DataFrame(rows, columns=list(COUNTS)).astype(COUNTS)
    labels = table[table["split"].isin(LABELLED)]
    known = [
        gxe.ExpectColumnValuesToNotBeNull(column="label", notes="every text of train, val and test has a label"),
        gxe.ExpectColumnValuesToBeInSet(
            column="label", value_set=dataset.classes, notes="every label is one that data.yaml names"
        ),
    ]
    enough = gxe.ExpectColumnValuesToBeBetween(
        column="texts",
        min_value=min_texts_per_class,
        notes=f"every class has texts in each labelled split, at least {min_texts_per_class}",
    )
    return Facts(
        {**plain.tables, "labels": labels, "counts": counts},
        {**plain.contract, "labels": known, "counts": [enough]},
        {**plain.counts, "classes": {name: int((labels["label"] == name).sum()) for name in dataset.classes}},
    )


def _expectations() -> list[Any]:
    return [
        gxe.ExpectColumnDistinctValuesToContainSet(
            column="split", value_set=list(LABELLED), notes="train, val and test each hold texts"
        ),
        gxe.ExpectColumnValuesToBeNull(column="error", notes="every line is a text or a conversation"),
        gxe.ExpectColumnValuesToBeBetween(column="characters", min_value=1, notes="no text is empty"),
        gxe.ExpectColumnValuesToBeInSet(column="found_in", value_set=list(SPLITS), notes="no text is in two splits"),
    ]
