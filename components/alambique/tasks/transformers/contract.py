"""The data contract of a dataset of texts: its facts as tables, and the expectations on them."""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import Any

import great_expectations.expectations as gxe

from alambique.data.contract import enough_by_class, every_split, one_split
from alambique.data.dataset import LABELLED, SPLITS
from alambique.data.manifest import PLACE, class_counts, table
from alambique.tasks.base import Facts
from alambique.tasks.transformers.dataset import Texts, key

TEXTS: dict[str, str] = {
    **PLACE,
    "error": "object",
    "characters": "Int64",  # absent where the line is no sample
    "label": "object",
    "sha256": "object",  # of what makes two texts equal
    "found_in": "object",
}


def facts(dataset: Texts) -> Facts:
    """A row for every line; `error` says why it is no sample, `found_in` lists every split that holds the same text."""
    rows: list[dict[str, Any]] = []
    splits: dict[str, dict[str, None]] = {}
    keys: list[str] = []
    for split in SPLITS:
        for name, text, error in dataset.lines(split):
            keys.append(key(text) if text else name)
            splits.setdefault(keys[-1], {})[split] = None
            label, characters = (text.label, len(text.text.strip())) if text else (None, None)
            rows.append({"split": split, "path": name, "error": error, "characters": characters, "label": label})
    for row, text_key in zip(rows, keys, strict=True):
        row["sha256"] = hashlib.sha256(text_key.encode()).hexdigest()
        row["found_in"] = ", ".join(splits[text_key])
    texts = table(rows, TEXTS)
    counts = {split: int((texts["split"] == split).sum()) for split in dataset.files}
    expectations = [
        every_split("texts"),
        gxe.ExpectColumnValuesToBeNull(column="error", notes="every line is a text or a conversation"),
        gxe.ExpectColumnValuesToBeBetween(column="characters", min_value=1, notes="no text is empty"),
        one_split("text"),
    ]
    return Facts({"texts": texts}, {"texts": expectations}, {"texts": counts})


def labelled_facts(dataset: Texts, min_texts_per_class: int) -> Facts:
    """The same of a dataset whose texts have classes: each one known, and enough of each in each labelled split."""
    plain = facts(dataset)
    texts = plain.tables["texts"]
    per_class = Counter(zip(texts["split"], texts["label"], strict=True))
    counts = class_counts("texts", per_class, {name: name for name in dataset.classes})
    labels = texts[texts["split"].isin(LABELLED)]
    known = [
        gxe.ExpectColumnValuesToNotBeNull(column="label", notes="every text of train, val and test has a label"),
        gxe.ExpectColumnValuesToBeInSet(
            column="label", value_set=dataset.classes, notes="every label is one that data.yaml names"
        ),
    ]
    return Facts(
        {**plain.tables, "labels": labels, "counts": counts},
        {**plain.contract, "labels": known, "counts": [enough_by_class("texts", min_texts_per_class)]},
        {**plain.counts, "classes": {name: int((labels["label"] == name).sum()) for name in dataset.classes}},
    )
