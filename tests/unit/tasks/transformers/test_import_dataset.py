from __future__ import annotations

import json
from pathlib import Path

import pytest

from alambique.errors import DataError
from alambique.tasks.transformers.dataset import Text, Texts
from alambique.tasks.transformers.import_dataset import import_dataset, import_labelled, read
from alambique.tasks.transformers.import_dataset import split as split_by_hash

STORIES = [f"Once there was a cat number {number}." for number in range(60)]


def test_plain_text_is_parted_at_blank_lines_and_by_hash(tmp_path: Path) -> None:
    (tmp_path / "stories.txt").write_text("\n\n".join([*STORIES, STORIES[0]]))
    import_dataset(str(tmp_path / "stories.txt"), tmp_path / "data")
    data = Texts.load(tmp_path / "data")
    parts = {name: {text.text for text in data.texts(name)} for name in ("train", "val", "test")}
    assert set.union(*parts.values()) == set(STORIES)
    assert sum(map(len, parts.values())) == len(STORIES)  # the one that stands twice did not part
    assert len(parts["train"]) > 40
    assert {name: len(texts) for name, texts in split_by_hash([Text("", story) for story in STORIES]).items()} == {
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


def table(path: Path, rows: list[tuple[str, str]], header: str = "text,category") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(header + "\n" + "".join(f'"{text}",{label}\n' for text, label in rows))


ROWS = [(f"where is my card, number {number}?", "arrival" if number % 2 else "lost") for number in range(60)]


def test_val_is_split_off_train_by_the_texts_themselves(tmp_path: Path) -> None:
    table(tmp_path / "a" / "train.csv", ROWS)
    table(tmp_path / "a" / "test.csv", [("is it lost?", "lost")])
    table(tmp_path / "b" / "train.csv", ROWS[::-1])
    table(tmp_path / "b" / "test.csv", [("is it lost?", "lost")])
    datasets = []
    for name in ("a", "b"):
        import_labelled(str(tmp_path / name), tmp_path / f"{name}_data")
        datasets.append(Texts.load(tmp_path / f"{name}_data"))
    first, second = ({text.text for text in data.texts("val")} for data in datasets)
    assert first == second
    assert 0 < len(first) < 20
    assert len(datasets[0].texts("train")) == len(ROWS) - len(first)
    assert datasets[0].classes == ["arrival", "lost"]
    assert [text.label for text in datasets[0].texts("test")] == ["lost"]


def test_one_table_alone_is_split_by_itself(tmp_path: Path) -> None:
    table(tmp_path / "all.csv", ROWS, header="Sentence,Intent")
    import_labelled(str(tmp_path / "all.csv"), tmp_path / "data")
    data = Texts.load(tmp_path / "data")
    assert all(data.texts(split) for split in ("train", "val", "test"))
    assert sum(len(data.texts(split)) for split in ("train", "val", "test")) == len(ROWS)


@pytest.mark.parametrize("folder", [True, False])
def test_rows_without_a_label_are_unlabelled(tmp_path: Path, folder: bool) -> None:
    rows = [*ROWS, ("what, then?", ""), ("and why?", "")]
    table(tmp_path / "given" / ("train.csv" if folder else "all.csv"), rows)
    if folder:
        table(tmp_path / "given" / "test.csv", [("is it lost?", "lost")])
        table(tmp_path / "given" / "unlabelled.csv", [("who?", "")])
    import_labelled(str(tmp_path / "given"), tmp_path / "data")
    data = Texts.load(tmp_path / "data")
    assert [text.text for text in data.texts("unlabelled")] == ["who?"] * folder + ["what, then?", "and why?"]
    assert all(text.label for split in ("train", "val", "test") for text in data.texts(split))


def test_unlabelled_tables_need_no_labels(tmp_path: Path) -> None:
    path = tmp_path / "unlabelled.csv"
    path.write_text('text\n"what, then?"\n')
    (text,) = read(path)
    assert (text.text, text.label) == ("what, then?", None)


def test_a_table_without_labels_says_what_it_has(tmp_path: Path) -> None:
    path = tmp_path / "train.csv"
    path.write_text("question,answer\na,b\n")
    with pytest.raises(DataError, match="question, answer; one must be named text"):
        read(path)


def test_a_missing_test_split_is_refused(tmp_path: Path) -> None:
    table(tmp_path / "given" / "train.csv", ROWS)
    with pytest.raises(DataError, match="no texts for `test`"):
        import_labelled(str(tmp_path / "given"), tmp_path / "data")


def test_a_text_in_two_splits_stays_where_it_is_measured(tmp_path: Path, warned: list[str]) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for split, texts in {"train": ["a b", "c", "d"], "val": ["d", "e"], "test": ["A  b", "e", "f"]}.items():
        lines = "".join(f"{text},x\n" for text in texts)
        (source / f"{split}.csv").write_text(f"text,label\n{lines}")
    import_labelled(str(source), tmp_path / "data")
    data = Texts.load(tmp_path / "data")
    kept = {split: [text.text for text in data.texts(split)] for split in ("train", "val", "test")}
    assert kept == {"train": ["c"], "val": ["d"], "test": ["A  b", "e", "f"]}
    assert warned == [
        "1 texts of val were left out: they stand in another split, too",
        "2 texts of train were left out: they stand in another split, too",
    ]
