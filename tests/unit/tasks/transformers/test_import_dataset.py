from __future__ import annotations

import json
from pathlib import Path

import pytest

from alambique.errors import DataError
from alambique.tasks.transformers.dataset import Text, Texts
from alambique.tasks.transformers.import_dataset import import_dataset, split

STORIES = [f"Once there was a cat number {number}." for number in range(60)]


def test_plain_text_is_parted_at_blank_lines_and_by_hash(tmp_path: Path) -> None:
    (tmp_path / "stories.txt").write_text("\n\n".join([*STORIES, STORIES[0]]))
    import_dataset(str(tmp_path / "stories.txt"), tmp_path / "data")
    data = Texts.load(tmp_path / "data")
    parts = {name: {text.text for text in data.texts(name)} for name in ("train", "val", "test")}
    assert set.union(*parts.values()) == set(STORIES)
    assert sum(map(len, parts.values())) == len(STORIES)  # the one that stands twice did not part
    assert len(parts["train"]) > 40
    assert {name: len(texts) for name, texts in split([Text("", story) for story in STORIES]).items()} == {
        name: len(texts) for name, texts in parts.items()
    }


def test_a_folder_with_split_names_keeps_them(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in ("train", "val", "test"):
        (source / f"{name}.jsonl").write_text(json.dumps({"text": name, "label": name[0]}) + "\n\n")
    (source / "unlabelled.txt").write_text("one\nline more\n\ntwo\n")
    import_dataset(str(source), tmp_path / "data")
    data = Texts.load(tmp_path / "data")
    assert data.classes == ["t", "v"]
    assert [text.text for text in data.texts("unlabelled")] == ["one\nline more", "two"]
    import_dataset(str(tmp_path / "data"), tmp_path / "again")
    assert Texts.load(tmp_path / "again").digest("train") == data.digest("train")


def test_a_source_without_texts_or_splits_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there are no texts at"):
        import_dataset(str(tmp_path), tmp_path / "data")
    (tmp_path / "train.txt").write_text("one")
    with pytest.raises(DataError, match="has no texts for `val`"):
        import_dataset(str(tmp_path), tmp_path / "data")
