from __future__ import annotations

import re
from collections import Counter

import pytest

from alambique.errors import DataError
from alambique.tasks.transformers.dataset import Text
from alambique.tasks.transformers.split_texts import split, split_val_off


def rows(**counts: int) -> list[Text]:
    return [Text("", f"{label} number {n}", label) for label, count in counts.items() for n in range(count)]


def counted(parts: dict[str, list[Text]]) -> dict[str, Counter[str | None]]:
    return {name: Counter(text.label for text in texts) for name, texts in parts.items()}


@pytest.mark.parametrize("least", [1, 2, 5])
def test_each_class_that_has_texts_enough_is_in_each_split(least: int) -> None:
    texts = rows(many=300, few=20, rare=3 * least)
    for parts in (split(texts, least, by_class=True), split(texts[::-1], least, by_class=True)):
        assert all(count[label] >= least for count in counted(parts).values() for label in ("many", "few", "rare"))
        assert sum(map(len, parts.values())) == len(texts)
    off = counted(split_val_off(texts, least))
    assert all(off[name][label] >= least for name in ("train", "val") for label in ("many", "few", "rare"))


def test_a_class_that_needs_no_help_stays_where_its_hashes_say() -> None:
    alone = split(rows(many=300), 1, by_class=True)
    beside = split(rows(many=300, rare=3), 1, by_class=True)
    for name, texts in alone.items():
        assert [text for text in beside[name] if text.label == "many"] == texts


def test_classes_that_are_too_small_are_named_with_the_key() -> None:
    words = "'rare' has 1, 'small' has 2; .*lower validation.min_texts_per_class"
    with pytest.raises(DataError, match=rf"validation.min_texts_per_class: 1.*{words}"):
        split(rows(many=50, small=2, rare=1), 1, by_class=True)
    with pytest.raises(DataError, match=re.escape("into train and val, each with 5 or more")):
        split_val_off(rows(many=50, small=9), 5)
    assert sum(map(len, split(rows(many=50, rare=1), 0, by_class=True).values())) == 51


def test_texts_that_differ_in_case_or_spaces_stay_together() -> None:
    texts = [Text("", form) for n in range(40) for form in (f"say  {n}", f"Say {n}", f"say {n} ")]
    parts = split(texts, 1, by_class=False)
    assert all(len(part) % 3 == 0 for part in parts.values())


def test_a_few_texts_are_split_and_two_are_not() -> None:
    texts = [Text("", str(n)) for n in range(3)]
    assert {name: len(part) for name, part in split(texts, 1, by_class=False).items()} == {
        "train": 1,
        "val": 1,
        "test": 1,
    }
    with pytest.raises(DataError, match="2 different texts are too few"):
        split(texts[:2], 1, by_class=False)
