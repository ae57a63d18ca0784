from __future__ import annotations

from pathlib import Path

import pytest

from alambique.errors import DataError
from alambique.tasks.transformers.dataset import Text, Texts, write
from alambique.tasks.transformers.import_dataset import import_dataset

TALK = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]


def dataset(folder: Path, **splits: list[Text]) -> Texts:
    classes = sorted({text.label for texts in splits.values() for text in texts if text.label})
    write(folder, splits, classes)
    return Texts.load(folder)


def test_what_is_written_is_read_in_order(tmp_path: Path) -> None:
    rows = [Text("", "a", "dog"), Text("", "ü", "cat"), Text("", "Hi\nHello", None, tuple(TALK))]
    data = dataset(tmp_path / "data", train=rows, val=[Text("", "b", "cat")], test=[Text("", "c", "cat")])
    assert data.classes == ["cat", "dog"]
    assert data.texts("train") == [row._replace(name=f"train/{n:06d}") for n, row in enumerate(rows)]
    assert data.texts("unlabelled") == []
    assert (data.size("train"), data.size("unlabelled")) == (3, 0)
    assert not data.has("unlabelled")


def test_a_digest_changes_with_any_of_its_texts(tmp_path: Path) -> None:
    parts = {"val": [Text("", "b")], "test": [Text("", "c")]}
    first = dataset(tmp_path / "first", train=[Text("", "a"), Text("", "b")], **parts)
    same = dataset(tmp_path / "same", train=[Text("", "a"), Text("", "b")], **parts)
    turned = dataset(tmp_path / "turned", train=[Text("", "b"), Text("", "a")], **parts)
    assert first.digest("train") == same.digest("train") != turned.digest("train")
    assert first.digest("val") == turned.digest("val") != first.digest("test")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "not JSON"),
        ("[]", "expected an object"),
        ('{"text": 3}', "text: expected a string, got 3"),
        ('{"text": "a", "label": 3}', "label: expected a class name, got 3"),
        ('{"messages": []}', "messages: expected a list of at least one"),
        ('{"messages": [{"role": "king", "content": "a"}]}', "expected a role"),
    ],
)
def test_a_broken_line_is_named(tmp_path: Path, line: str, words: str) -> None:
    data = dataset(tmp_path / "data", train=[Text("", "a")])
    with (tmp_path / "data/train.jsonl").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(DataError, match=f"train/000001: .*{words}"):
        data.texts("train")
    with pytest.raises(DataError, match=f"source.jsonl:1: .*{words}"):
        (tmp_path / "source.jsonl").write_text(line)
        import_dataset(str(tmp_path / "source.jsonl"), tmp_path / "imported")


@pytest.mark.parametrize("name", ["../train.jsonl", "/train.jsonl", "train.csv", "folder/train.jsonl"])
def test_a_file_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "data.yaml").write_text(f"train: {name}\n")
    with pytest.raises(DataError, match=r"is not a file beside it"):
        Texts.load(tmp_path)
