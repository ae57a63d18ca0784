from __future__ import annotations

import json
from pathlib import Path

import pytest

from alambique.errors import DataError
from alambique.tasks.transformers.dataset import Texts
from alambique.tasks.transformers.import_dataset import import_dataset, import_labelled
from alambique.tasks.transformers.read_texts import read

PLACES = {"train": 0, "val": 36, "test": 1}
"""Of each split, the first of `STORIES` by name: hashes decide, and no later version may move them."""
STORIES = [f"Once there was a cat number {number}." for number in range(60)]


def test_plain_text_is_parted_at_blank_lines_and_by_hash(tmp_path: Path) -> None:
    (tmp_path / "stories.txt").write_text("\n\n".join([*STORIES, STORIES[0]]))
    import_dataset(str(tmp_path / "stories.txt"), tmp_path / "data")
    data = Texts.load(tmp_path / "data")
    parts = {name: {text.text for text in data.texts(name)} for name in ("train", "val", "test")}
    assert set.union(*parts.values()) == set(STORIES)
    assert sum(map(len, parts.values())) == len(STORIES)  # the one that stands twice did not part
    assert len(parts["train"]) > 40
    places = {name: sorted(texts)[0] for name, texts in parts.items()}
    assert places == {name: f"Once there was a cat number {number}." for name, number in PLACES.items()}


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
    (text,) = read(path, labelled=True)
    assert (text.text, text.label) == ("what, then?", None)


def test_a_table_without_labels_says_what_it_has(tmp_path: Path) -> None:
    path = tmp_path / "train.csv"
    path.write_text("question,answer\na,b\n")
    with pytest.raises(DataError, match="question, answer; one must be named text"):
        read(path, labelled=True)


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
        "1 texts of val were left out: they stand in another split, too (val.csv:3)",
        "2 texts of train were left out: they stand in another split, too (train.csv:2, train.csv:4)",
    ]


def test_equal_tables_give_equal_digests(tmp_path: Path) -> None:
    """They are those of the versions before: no text may change its place or its split by itself."""
    table(tmp_path / "given" / "train.csv", ROWS)
    table(tmp_path / "given" / "test.csv", [("is it lost?", "lost")])
    import_labelled(str(tmp_path / "given"), tmp_path / "data")
    data = Texts.load(tmp_path / "data")
    assert {split: data.digest(split)[:12] for split in data.files} == {
        "train": "51dc80d4733e",
        "val": "97515b3e311e",
        "test": "a7ca467c5928",
    }


@pytest.mark.parametrize("val", ["validation", "dev", "valid", "Eval"])
@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".json"])
def test_splits_have_the_names_that_people_give_them(tmp_path: Path, val: str, suffix: str) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in ("train", val, "test", "unlabeled"):
        if suffix in (".csv", ".tsv"):
            separator = "," if suffix == ".csv" else "\t"
            (source / f"{name}{suffix}").write_text(f"text{separator}label\n{name}{separator}a\n")
        else:
            (source / f"{name}{suffix}").write_text(json.dumps({"text": name, "label": "a"}))
    for number, load in enumerate((import_dataset, import_labelled)):
        load(str(source), tmp_path / f"data{number}")
        data = Texts.load(tmp_path / f"data{number}")
        assert {split: [text.text for text in data.texts(split)] for split in data.files} == {
            "train": ["train"],
            "val": [val],
            "test": ["test"],
            "unlabelled": ["unlabeled"],
        }


def test_what_is_not_taken_is_named(tmp_path: Path, warned: list[str]) -> None:
    for name in ("train", "val", "test"):
        table(tmp_path / "given" / f"{name}.csv", [(name, "lost")])
    table(tmp_path / "given" / "extra.csv", [("more", "lost")])
    (tmp_path / "given" / ".DS_Store").touch()
    (tmp_path / "given" / "unlabeled.txt").write_text("one\ntwo\n")
    (tmp_path / "given" / "more").mkdir()
    import_labelled(str(tmp_path / "given"), tmp_path / "data")
    assert [text.text for text in Texts.load(tmp_path / "data").texts("unlabelled")] == ["one", "two"]
    assert warned[-1].endswith("left out, being named after no split or not of the kind: extra.csv, more")


def test_a_data_yaml_has_other_names_and_stays_in_its_folder(tmp_path: Path, warned: list[str]) -> None:
    for name in ("train", "val", "test"):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps({"text": name}))
    described = "train: train.jsonl\nvalidation: val.jsonl\ntest: test.jsonl\n"
    (tmp_path / "data.yaml").write_text(f"{described}minival: val.jsonl\n")
    import_dataset(str(tmp_path), tmp_path / "data")
    assert [text.text for text in Texts.load(tmp_path / "data").texts("val")] == ["val"]
    assert warned == [f"{tmp_path}/data.yaml: left out, being named after no split: minival"]
    for more, words in {
        "val: val.jsonl": "val is named already",
        "unlabeled: /etc/passwd": "unlabeled: expected a file in the folder",
        "unlabeled: a/../../secret.txt": "unlabeled: expected a file in the folder",
        "unlabeled: [a.txt]": "unlabeled: expected a file in the folder",
        "unlabeled: key.pem": "key.pem is not a .jsonl",
    }.items():
        (tmp_path / "data.yaml").write_text(f"{described}{more}\n")
        with pytest.raises(DataError, match=words):
            import_dataset(str(tmp_path), tmp_path / "again")


@pytest.mark.parametrize("encoding", ["gbk", "utf-16-le"])
def test_a_data_yaml_in_another_encoding_is_refused(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "data.yaml").write_bytes("train: 车.jsonl\n".encode(encoding))
    with pytest.raises(DataError, match=r"data\.yaml is not"):
        import_dataset(str(tmp_path), tmp_path / "data")


def test_a_row_of_val_without_a_label_is_named(tmp_path: Path) -> None:
    table(tmp_path / "given" / "train.csv", ROWS)
    table(tmp_path / "given" / "dev.csv", [("is it lost?", "lost"), ("who?", "")])
    table(tmp_path / "given" / "test.csv", [("is it here?", "lost")])
    with pytest.raises(DataError, match=r"dev\.csv:3 is in val and has no label"):
        import_labelled(str(tmp_path / "given"), tmp_path / "data")


def test_conversations_without_an_answer_are_left_out_by_name(tmp_path: Path, warned: list[str]) -> None:
    path, ask = tmp_path / "talks.jsonl", {"role": "user", "content": "hi"}
    lines = [{"messages": [{**ask, "content": story}, {"role": "assistant", "content": "ok"}]} for story in STORIES]
    silent = [{"messages": [ask]}, {"messages": [ask, {"role": "assistant", "content": ""}]}]
    path.write_text("".join(json.dumps(line) + "\n" for line in [*silent, *lines]))
    import_dataset(str(path), tmp_path / "data")
    data = Texts.load(tmp_path / "data")
    assert sum(data.size(split) for split in data.files) == len(STORIES)
    (words,) = warned
    assert "2 conversations without a message of an assistant" in words
    assert "(talks.jsonl:1, talks.jsonl:2)" in words
    path.write_text("".join(json.dumps(line) + "\n" for line in silent))
    with pytest.raises(DataError, match="holds only 2 conversations without a message of an assistant"):
        import_dataset(str(path), tmp_path / "again")


def test_links_to_files_are_followed(tmp_path: Path) -> None:
    """As in Hugging Face's cache, whose snapshots are links to blobs."""
    (tmp_path / "source").mkdir()
    (tmp_path / "blob").write_text("one\n\ntwo\n\nthree\n")
    (tmp_path / "source" / "stories.txt").symlink_to(tmp_path / "blob")
    import_dataset(str(tmp_path / "source"), tmp_path / "data")
    assert sum(Texts.load(tmp_path / "data").size(split) for split in ("train", "val", "test")) == 3
