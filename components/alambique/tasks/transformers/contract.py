"""The data contract of a dataset of texts: its facts as tables, and the expectations on them."""

from __future__ import annotations

from collections import Counter
from typing import Any

import great_expectations.expectations as gxe

from alambique.data.contract import enough, in_splits
from alambique.data.dataset import LABELLED, SPLITS
from alambique.data.manifest import mark_shared, table
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
    for split in SPLITS:
        for name, text, error in dataset.lines(split):
            row = {"split": split, "path": name, "error": error, "sha256": key(text) if text else name}
            rows.append({**row, "characters": len(text.text.strip()), "label": text.label} if text else row)
    mark_shared(rows)
    lines = table(rows, TEXTS)
    counts = {split: int((lines["split"] == split).sum()) for split in dataset.files}
    return Facts({"texts": lines}, {"texts": _expectations()}, {"texts": counts})


def labelled_facts(dataset: Texts, min_texts_per_class: int) -> Facts:
    """The same of a dataset whose texts have classes: each one known, and enough of each.

    Args:
        min_texts_per_class: in each labelled split.
    """
    plain = facts(dataset)
    lines = plain.tables["texts"]
    texts = Counter(zip(lines["split"], lines["label"], strict=True))
    rows = [
        {"split": split, "path": f"{split}/{name}", "texts": texts[split, name]}
        for split in LABELLED
        for name in dataset.classes
    ]
    labels = lines[lines["split"].isin(LABELLED)]
    known = [
        gxe.ExpectColumnValuesToNotBeNull(column="label", notes="every text of train, val and test has a label"),
        gxe.ExpectColumnValuesToBeInSet(
            column="label", value_set=dataset.classes, notes="every label is one that data.yaml names"
        ),
    ]
    return Facts(
        {**plain.tables, "labels": labels, "counts": table(rows, COUNTS)},
        {**plain.contract, "labels": known, "counts": enough("texts", min_texts_per_class)},
        {**plain.counts, "classes": {name: int((labels["label"] == name).sum()) for name in dataset.classes}},
    )


def _expectations() -> list[Any]:
    return [
        *in_splits("text"),
        gxe.ExpectColumnValuesToBeNull(column="error", notes="every line is a text or a conversation"),
        gxe.ExpectColumnValuesToBeBetween(column="characters", min_value=1, notes="no text is empty"),
    ]
