from __future__ import annotations

from pathlib import Path

from alambique.data.expectations import failures, judge
from alambique.tasks.transformers.contract import facts, labelled_facts
from alambique.tasks.transformers.dataset import Text, Texts, write


def dataset(folder: Path, **splits: list[Text]) -> Texts:
    classes = sorted({text.label for texts in splits.values() for text in texts if text.label})
    write(folder, splits, classes)
    return Texts.load(folder)


def test_bytes_that_are_no_text_are_a_row_of_the_facts(tmp_path: Path) -> None:
    data = dataset(tmp_path / "data", train=[Text("", "a")])
    (tmp_path / "data/train.jsonl").write_bytes(b'{"text": "\xff"}\n')
    assert facts(data).tables["texts"]["error"].tolist() == ["not UTF-8"]


def test_a_good_dataset_holds_its_contract(tmp_path: Path) -> None:
    data = dataset(
        tmp_path / "data",
        train=[Text("", "a", "cat"), Text("", "d", "dog")],
        val=[Text("", "b", "cat"), Text("", "e", "dog")],
        test=[Text("", "c", "cat"), Text("", "f", "dog")],
        unlabelled=[Text("", "g")],
    )
    judged = labelled_facts(data, 1)
    assert failures(judge(judged.tables, judged.contract)) == []
    assert judged.counts == {
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
    judged = labelled_facts(data, 1)
    messages = "\n".join(failures(judge(judged.tables, judged.contract)))
    assert "no text is empty: train/000001 (characters: 0)" in messages
    assert "no text is in two splits: train/000000 (found_in: train, test)" in messages
    assert "has a label: val/000000" in messages
    assert "at least 1: val/cat (texts: 0), test/dog (texts: 0)" in messages
