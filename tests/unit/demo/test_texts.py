from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from alambique.demo.texts import GRAMMAR, Intents


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_equal_seeds_ask_equal_questions_and_none_twice(tmp_path: Path) -> None:
    asked = Intents(train=24, val=12, test=36, unlabelled=60)
    for name in ("first", "again"):
        asked.write(tmp_path / name)
    texts: list[str] = []
    for split in ("train", "val", "test", "unlabelled"):
        rows = read(tmp_path / "first" / f"{split}.jsonl")
        assert rows == read(tmp_path / "again" / f"{split}.jsonl")
        assert len(rows) == getattr(asked, split)
        texts += [row["text"] for row in rows]
    assert len(set(texts)) == len(texts)
    assert not any("{" in text for text in texts)


def test_only_what_is_labelled_says_its_intent_and_each_as_often(tmp_path: Path) -> None:
    Intents(train=24, val=12, test=36, unlabelled=12).write(tmp_path / "asked")
    labels = [row["label"] for row in read(tmp_path / "asked" / "test.jsonl")]
    assert {labels.count(intent) for intent in GRAMMAR.intents} == {3}
    assert not any("label" in row for row in read(tmp_path / "asked" / "unlabelled.jsonl"))
