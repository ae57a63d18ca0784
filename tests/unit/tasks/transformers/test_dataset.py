from __future__ import annotations

import json
from pathlib import Path

import pytest

from alambique.data.expectations import failures, judge
from alambique.errors import DataError
from alambique.tasks.transformers.contract import facts, labelled_facts
from alambique.tasks.transformers.dataset import Text, Texts, write
from alambique.tasks.transformers.import_dataset import import_dataset, split

STORIES = [f"Once there was a cat number {number}." for number in range(60)]
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


def test_bytes_that_are_no_text_are_a_row_of_the_facts(tmp_path: Path) -> None:
    data = dataset(tmp_path / "data", train=[Text("", "a")])
    (tmp_path / "data/train.jsonl").write_bytes(b'{"text": "\xff"}\n')
    assert facts(data).tables["texts"]["error"].tolist() == ["not UTF-8"]


@pytest.mark.parametrize("name", ["../train.jsonl", "/train.jsonl", "train.csv", "folder/train.jsonl"])
def test_a_file_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "data.yaml").write_text(f"train: {name}\n")
    with pytest.raises(DataError, match=r"is not a file beside it"):
        Texts.load(tmp_path)


def test_a_good_dataset_holds_its_contract(tmp_path: Path) -> None:
    data = dataset(
        tmp_path / "data",
        train=[Text("", "a", "cat"), Text("", "d", "dog")],
        val=[Text("", "b", "cat"), Text("", "e", "dog")],
        test=[Text("", "c", "cat"), Text("", "f", "dog")],
        unlabelled=[Text("", "g")],
    )
    found = labelled_facts(data, 1)
    assert failures(judge(found.tables, found.contract)) == []
    assert found.counts == {
        "texts": {"train": 2, "val": 2, "test": 2, "unlabelled": 1},
        "classes": {"cat": 3, "dog": 3},
    }


def test_what_breaks_the_contract_is_named(tmp_path: Path) -> None:
    data = dataset(
        tmp_path / "data",
        train=[Text("", "The same", "cat"), Text("", " ", "dog")],
        val=[Text("", "b"), Text("", "e", "dog")],
        test=[Text("", "the  same", "cat")],
    )
    found = labelled_facts(data, 1)
    said = "\n".join(failures(judge(found.tables, found.contract)))
    assert "no text is empty: train/000001 (characters: 0)" in said
    assert "no text is in two splits: train/000000 (found_in: train, test)" in said
    assert "has a label: val/000000" in said
    assert "at least 1: val/cat (texts: 0), test/dog (texts: 0)" in said


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
