"""Read the files that texts come in: JSON Lines and JSON, plain text, tables. What is wrong is named by its line."""

from __future__ import annotations

import codecs
import csv
import io
import logging
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from alambique.data.source_files import some, split_of
from alambique.errors import DataError
from alambique.tasks.transformers.dataset import SUFFIX, Text, parse_json, parse_record
from alambique.tasks.transformers.records import LABEL, TEXT, rewrite

JSON, PLAIN, TABLES = (SUFFIX, ".json"), ".txt", {".csv": ",;\t|", ".tsv": "\t"}
SUFFIXES = (*JSON, PLAIN, *TABLES)
"""Of the files that are taken; of tables with the separators that are tried, in this order."""

_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
"""Byte order marks, the longer first, and the encodings that they stand for."""

log = logging.getLogger(__name__)


def read(path: Path, labelled: bool, by_line: bool = False) -> list[Text]:
    """The samples of a file, named by file and line. A label that is empty is none.

    Args:
        labelled: texts are classified; see `records.rewrite`.
        by_line: in plain text without blank lines, each line is a sample; otherwise all of it is one.
    Raises:
        DataError: it cannot be read, lacks a column, or a line is no sample; the message names file and line.
    """
    content, suffix = _decoded(path), path.suffix.lower()
    if suffix in TABLES:
        texts = _rows(path, content, labelled)
    elif suffix == PLAIN:
        texts = _paragraphs(path, content, by_line)
    else:
        texts = _records(path, content, labelled)
    if empty := [text.name for text in texts if not text.text.strip()]:
        raise DataError(f"{path}: there is no text in {some(empty)}; fill it in, or remove it")
    return texts


def _decoded(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}; correct the path") from None
    encoding = next((name for mark, name in _MARKS.items() if content.startswith(mark)), "utf-8")
    if encoding.startswith("utf-8") and b"\0" in content:
        line = content.count(b"\n", 0, content.index(b"\0")) + 1
        raise DataError(f"{path}:{line} is not UTF-8 text: it has null bytes, as UTF-16 has; save it as UTF-8")
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        byte = f"{error.reason} at byte {error.start} ({content[error.start]:#04x})"
        raise DataError(
            f"{path}:{line} is not {encoding.removesuffix('-sig').upper()}: {byte}; convert it, as by "
            "`iconv -f ENCODING -t UTF-8`, where ENCODING may be WINDOWS-1252 or GB18030"
        ) from None


def _paragraphs(path: Path, content: str, by_line: bool) -> list[Text]:
    content = content.replace("\r\n", "\n").replace("\r", "\n")
    parts = [part.strip() for part in re.split(r"\n\s*\n", content) if part.strip()]
    if len(parts) == 1 and "\n" in parts[0]:
        if by_line:
            parts = [line.strip() for line in parts[0].split("\n")]
        log.warning("%s has no blank lines: %s", path, "each line is a text" if by_line else "it is one text")
    return [Text(f"{path.name}: text {number}", part) for number, part in enumerate(parts, start=1)]


def _records(path: Path, content: str, labelled: bool) -> list[Text]:
    """Objects, one a line; or an array of them, however it is written."""
    texts, ignored = [], Counter[str]()
    for place, value in _objects(path, content):
        try:
            record = rewrite(value, labelled)
            texts.append(parse_record(f"{path.name}{place}", record.content))
        except ValueError as error:
            raise DataError(f"{path}{place}: {error}") from None
        ignored.update(set(record.ignored))
    _say_ignored(path, "keys", [f"{key} ({count})" for key, count in ignored.items()])
    return texts


def _objects(path: Path, content: str) -> Iterator[tuple[str, Any]]:
    """What follows the path in an object's place, and the object."""
    if content.lstrip().startswith("[") and (values := _array(path, content)):
        yield from ((f", object {number}", value) for number, value in enumerate(values, start=1))
        return
    for number, line in enumerate(content.split("\n"), start=1):
        if line.strip():
            try:
                yield f":{number}", parse_json(line)
            except ValueError as error:
                raise DataError(f"{path}:{number}: {error}; each line is an object, or all is one array") from None


def _array(path: Path, content: str) -> list[Any]:
    """The values of an array; none if that is not what a file of lines is."""
    try:
        values: list[Any] = parse_json(content)
    except ValueError as error:
        if path.suffix.lower() != SUFFIX:
            raise DataError(f"{path}: {error}") from None
        return []
    return values


def _rows(path: Path, content: str, labelled: bool) -> list[Text]:
    """The rows of a table with a header, of which each has as many fields."""
    rows = _fields(path, content)
    _, header = next(rows, (1, []))
    text = _column(path, header, TEXT, needed=True)
    label = _column(path, header, LABEL, labelled and split_of(path.stem) != "unlabelled")
    _say_ignored(path, "columns", [name or "''" for place, name in enumerate(header) if place not in {text, label}])
    texts = []
    for line, row in rows:
        if len(row) != len(header):
            hint = "a text with a separator stands in quotes" if len(row) > len(header) else "a missing one stays empty"
            raise DataError(
                f"{path}:{line}: expected {len(header)} fields, as the header has ({', '.join(header)}), got "
                f"{len(row)}; {hint}"
            )
        value = "" if label is None else row[label].strip()
        texts.append(Text(f"{path.name}:{line}", "" if text is None else row[text], value or None))
    return texts


def _fields(path: Path, content: str) -> Iterator[tuple[int, list[str]]]:
    """The first line and the fields of each row that is not blank."""
    csv.field_size_limit(sys.maxsize)  # a text may be longer than csv's 128 KiB
    line = 0
    rows = csv.reader(io.StringIO(content, newline=""), delimiter=_separator(path, content), strict=True)
    try:
        for row in rows:
            if row:
                yield line + 1, row
            line = rows.line_num
    except csv.Error as error:
        raise DataError(f"{path}:{line + 1}: no row of a table: {error}; double the quotes inside of quotes") from None


def _separator(path: Path, content: str) -> str:
    """The one by which the header has a column of texts."""
    first = content.partition("\n")[0].rstrip("\r")
    for separator in (separators := TABLES[path.suffix.lower()]):
        header = [name.strip(' "').lower() for name in first.split(separator)]
        if any(name in header for name in TEXT):
            return separator
    return separators[0]


def _column(path: Path, columns: Sequence[str], names: tuple[str, ...], needed: bool) -> int | None:
    """The place of the first column of one of these names; None where there is none and none is needed."""
    place = next((place for place, column in enumerate(columns) if column.strip().lower() in names), None)
    if needed and place is None:
        raise DataError(
            f"{path} has the columns {', '.join(columns) or '(none)'}; one must be named {' or '.join(names)}, in the "
            "first line"
        )
    return place


def _say_ignored(path: Path, what: str, names: Sequence[str]) -> None:
    if names:
        log.warning("%s: %s that are not read: %s", path, what, ", ".join(names))
