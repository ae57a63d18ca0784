from __future__ import annotations

import os
from pathlib import Path

import pytest

from alambique.data.arrivals import pairs
from alambique.data.dataset import files_below
from alambique.data.source_files import by_split, some, split_of, visible
from alambique.data.store import Item
from alambique.errors import DataError


@pytest.mark.parametrize(
    ("split", "names"),
    {
        "train": ["train", "Train", "training"],
        "val": ["val", "valid", "VALIDATION", "dev", "eval", "evaluation"],
        "test": ["test", "testing"],
        "unlabelled": ["unlabelled", "unlabeled", "unsupervised"],
        None: ["holdout", "trainer", "test2", ""],
    }.items(),
)
def test_a_split_has_the_names_that_people_give_it(split: str | None, names: list[str]) -> None:
    assert {split_of(name) for name in names} == {split}


def test_numbered_parts_are_one_file_and_others_are_told(tmp_path: Path) -> None:
    names = ["dev.csv", "more.csv", "train-00000-of-00002.csv", "train-00001-of-00002.csv"]
    found, others = by_split(tmp_path / name for name in names)
    assert {split: [path.name for path in paths] for split, paths in found.items()} == {
        "train": names[2:],
        "val": names[:1],
    }
    assert [path.name for path in others] == ["more.csv"]


@pytest.mark.parametrize("names", [["val.csv", "validation.csv"], ["test.csv", "test.jsonl"]])
def test_two_files_of_one_split_are_refused(names: list[str]) -> None:
    with pytest.raises(DataError, match=rf"{names[0]} and .*{names[1]} are both"):
        by_split(Path(name) for name in names)


def test_what_tools_leave_behind_is_passed_over(tmp_path: Path) -> None:
    for name in (".DS_Store", "._a.jpg", "Thumbs.db", "desktop.ini", "a.jpg"):
        (tmp_path / name).touch()
    for name in (".ipynb_checkpoints", "__MACOSX", "cats"):
        (tmp_path / name).mkdir()
    assert [path.name for path in visible(tmp_path)] == ["a.jpg", "cats"]


def test_a_name_that_is_not_utf_8_is_told(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"\xb9\xb7")).mkdir()
    with pytest.raises(DataError, match=r"holds b'.*', whose name is not UTF-8; rename it"):
        visible(tmp_path)
    with pytest.raises(DataError, match=r"holds b'.*', whose name is not UTF-8; rename it"):
        files_below(tmp_path)


def test_a_list_is_cut_and_says_so() -> None:
    assert some(list("abcdef")) == "a, b, c, d, e and 1 more"
    assert some(["a"]) == "a"


def test_annotations_that_an_ingestion_does_not_read_are_named(warned: list[str]) -> None:
    items = [Item(key, 1, "1", 0) for key in ("a/1.png", "a/1.xml", "a/2.png", "a/2.txt")]
    assert [(pair.key, pair.label is not None) for pair in pairs(items)] == [("a/1.png", False), ("a/2.png", True)]
    assert warned == ["not read: a/1.xml; labels arrive as YOLO's .txt, images without them as unlabelled"]
