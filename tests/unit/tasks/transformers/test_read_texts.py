from __future__ import annotations

import json
from pathlib import Path

import pytest

from alambique.errors import DataError
from alambique.tasks.transformers.read_texts import read

ROWS = "text,label\nun été,warm\nun hiver,cold\n"


def written(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".txt"])
def test_encodings_that_can_be_told_are_read(tmp_path: Path, suffix: str, encoding: str) -> None:
    content = {".csv": ROWS, ".jsonl": '{"text": "un été"}\r\n{"text": "un hiver"}', ".txt": "un été\r\n\r\nun hiver\n"}
    path = written(tmp_path / f"a{suffix}", content[suffix].encode(encoding))
    assert [text.text for text in read(path, labelled=True)] == ["un été", "un hiver"]


@pytest.mark.parametrize("encoding", ["latin-1", "gbk", "utf-16-le"])
@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".txt"])
def test_others_are_refused_by_line(tmp_path: Path, suffix: str, encoding: str) -> None:
    path = written(tmp_path / f"a{suffix}", ('text\n{"text": "é"}\n' if suffix != ".csv" else ROWS).encode(encoding))
    with pytest.raises(DataError, match=rf"a{suffix}:{1 if encoding == 'utf-16-le' else 2} is not UTF-8"):
        read(path, labelled=True)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("label,text\na,one, two\n", r":2: expected 2 fields, as the header has \(label, text\), got 3"),
        ("text,label\none,a\n\n\nonly\n", ":5: expected 2 fields.*got 1"),
        ('text,label\n"one\nmore",a\ntwo,b,c\n', ":4: expected 2 fields.*got 3"),
        ('text,label\none,a\n"two,b\n', ":3: no row of a table: unexpected end of data"),
        ('text,label\n"two" or three,b\n', ":2: no row of a table"),
        ("text,label\none,a\n ,b\n", "there is no text in t.csv:3;"),
        ("", r"has the columns \(none\)"),
    ],
)
def test_a_row_that_is_not_like_the_header_is_named(tmp_path: Path, content: str, words: str) -> None:
    with pytest.raises(DataError, match=words):
        read(written(tmp_path / "t.csv", content), labelled=True)


@pytest.mark.parametrize(("name", "separator"), [("a.csv", ","), ("a.CSV", ";"), ("a.csv", "\t"), ("a.tsv", "\t")])
def test_the_separator_is_that_of_the_header(tmp_path: Path, name: str, separator: str) -> None:
    rows = [["Text", " Label "], ['"a, b; c"', " warm "], ["d", ""]]
    path = written(tmp_path / name, "".join(separator.join(row) + "\r\n" for row in rows))
    texts = read(path, labelled=True)
    assert [(text.text, text.label) for text in texts] == [("a, b; c", "warm"), ("d", None)]
    assert [text.name for text in texts] == [f"{name}:2", f"{name}:3"]


def test_columns_and_keys_that_are_not_read_are_named(tmp_path: Path, warned: list[str]) -> None:
    read(written(tmp_path / "a.csv", "text,label,category,text\na,b,c,d\n"), labelled=True)
    read(written(tmp_path / "a.jsonl", '{"text": "a", "id": 1}\n{"text": "b", "id": 2}\n'), labelled=True)
    assert warned == [
        f"{tmp_path}/a.csv: columns that are not read: category, text",
        f"{tmp_path}/a.jsonl: keys that are not read: id (2)",
    ]


def test_a_long_text_is_a_text(tmp_path: Path) -> None:
    (text,) = read(written(tmp_path / "a.csv", f"text,label\n{'long ' * 40_000},a\n"), labelled=True)
    assert len(text.text) == 200_000


@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_an_array_is_read_as_lines_are(tmp_path: Path, name: str, indent: int | None) -> None:
    path = written(tmp_path / name, json.dumps([{"text": "a"}, {"text": "b"}], indent=indent))
    assert [text.text for text in read(path, labelled=False)] == ["a", "b"]
    path = written(tmp_path / name, json.dumps([{"text": "a"}, {"text": 3}], indent=indent))
    with pytest.raises(DataError, match=rf"{name}, object 2: text: expected a string, got 3"):
        read(path, labelled=False)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"text": "a"}\n{"text":\n', ":2: not JSON"),
        ("[" * 100_000, "nested too deep|not JSON"),
        ('{"text": "\\ud83d"}', ":1: .*surrogate"),
        ('{"text": " "}', "there is no text in a.jsonl:1;"),
    ],
)
def test_broken_json_is_named(tmp_path: Path, content: str, words: str) -> None:
    with pytest.raises(DataError, match=words):
        read(written(tmp_path / "a.jsonl", content), labelled=False)


def test_plain_text_without_blank_lines_says_what_it_is(tmp_path: Path, warned: list[str]) -> None:
    path = written(tmp_path / "a.txt", "one\r\ntwo\r\n")
    assert [text.text for text in read(path, labelled=False)] == ["one\ntwo"]
    assert [text.text for text in read(path, labelled=False, by_line=True)] == ["one", "two"]
    assert warned == [f"{path} has no blank lines: it is one text", f"{path} has no blank lines: each line is a text"]
