"""Copy texts into the canonical layout: JSON Lines, plain text with blank lines between samples, tables with labels.

Texts without splits are split by their own hashes, 80 : 10 : 10, so that equal texts are in one split.
"""

from __future__ import annotations

import csv
import hashlib
import io
import logging
import re
from collections.abc import Sequence
from pathlib import Path

from alambique.config import read_yaml
from alambique.data.dataset import LABELLED, SPLITS, class_names
from alambique.errors import DataError
from alambique.tasks.transformers.dataset import SUFFIX, Text, class_labels, key, read_line, write

SUFFIXES = (SUFFIX, ".txt")
TABLE = ".csv"
TEXT = ("text", "sentence", "utterance")
LABEL = ("label", "category", "intent", "class")
"""Names that a table's columns may have."""
SHARES = {"train": 0.8, "val": 0.1, "test": 0.1}

log = logging.getLogger(__name__)


def import_dataset(source: str, target: Path) -> None:
    """Copy the texts of `source` to `target`, which is made; see `dataset.Texts`.

    Args:
        source: a data.yaml, a folder with one, a folder of .jsonl or .txt files (named after splits, or not), or one
            such file.
    Raises:
        DataError: what is wrong with it, and where.
    """
    path = Path(source).expanduser()
    named = path / "data.yaml" if path.is_dir() else path
    if named.name == "data.yaml" and named.is_file():
        splits, classes = _described(named)
    else:
        splits = _undescribed(path)
        classes = class_labels(splits)
    _write(source, target, splits, classes)


def import_labelled(source: str, target: Path) -> None:
    """Copy labelled texts of `source` to `target`, which is made; see `dataset.Texts`.

    Tables may come as one file, which is split by the texts' hashes, or as a folder of train, test and perhaps val and
    unlabelled; a val that is missing is split off train. Rows of train without a label are unlabelled texts.

    Args:
        source: a .csv file, or a folder of them; or what `import_dataset` takes, with labels.
    Raises:
        DataError: what is wrong with it, and where.
    """
    path = Path(source).expanduser()
    tables = [path] if path.suffix == TABLE else sorted(path.glob(f"*{TABLE}")) if path.is_dir() else []
    if not tables or (path / "data.yaml").is_file():
        import_dataset(source, target)
        return
    splits = {split: texts for split, texts in disjoint(_tables(path, tables)).items() if texts}
    _write(source, target, splits, class_labels(splits))


def read(path: Path) -> list[Text]:
    """The samples of a file; of a .csv, a table with a header, a label that is empty is none.

    Raises:
        DataError: it cannot be read, lacks a column, or a line is no sample; the message names file and line.
    """
    try:
        content = path.read_bytes().decode("utf-8-sig") if path.suffix == TABLE else path.read_text()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}; correct the path") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8: {error.reason} at byte {error.start}") from None
    if path.suffix == TABLE:
        return _rows(path, content)
    if path.suffix == ".txt":
        return [Text("", part.strip()) for part in re.split(r"\n\s*\n", content) if part.strip()]
    texts = []
    for number, line in enumerate(content.split("\n"), start=1):
        if line.strip():
            parsed = read_line("", line)
            if parsed.text is None:
                raise DataError(f"{path}:{number}: {parsed.error}")
            texts.append(parsed.text)
    return texts


def split(texts: list[Text]) -> dict[str, list[Text]]:
    """Part samples by their hashes into train, val and test."""
    parts: dict[str, list[Text]] = {name: [] for name in SHARES}
    for text in texts:
        place = int.from_bytes(hashlib.sha256(text.text.encode()).digest()[:8]) / 2**64
        for name, share in SHARES.items():
            if place < share or name == "test":
                parts[name].append(text)
                break
            place -= share
    return parts


def disjoint(splits: dict[str, list[Text]]) -> dict[str, list[Text]]:
    """Each text in one split alone, in test rather than val, and in val rather than train: many tables repeat some."""
    taken: set[str] = set()
    kept: dict[str, list[Text]] = {}
    for split in ("test", "val", "train", "unlabelled"):
        if split in splits:
            kept[split] = [text for text in splits[split] if key(text) not in taken]
            if left_out := len(splits[split]) - len(kept[split]):
                log.warning("%d texts of %s were left out: they stand in another split, too", left_out, split)
            taken |= {key(text) for text in splits[split]}
    return {split: kept[split] for split in splits}


def _write(source: str, target: Path, splits: dict[str, list[Text]], classes: list[str]) -> None:
    for name in LABELLED:
        if not splits.get(name):
            raise DataError(
                f"{source} has no texts for `{name}`. Alambique trains on train, decides on val and measures once on "
                f"test: give it a file named {name}, or one file alone, which is split by itself"
            )
    write(target, splits, classes)


def _described(file: Path) -> tuple[dict[str, list[Text]], list[str]]:
    content = read_yaml(file)
    if not isinstance(content, dict):
        raise DataError(f"{file} holds no mapping; it needs train, val and test")
    splits = {name: read(file.parent / str(content[name])) for name in SPLITS if content.get(name)}
    names = content.get("names")
    return splits, class_names(names, file) if names else class_labels(splits)


def _undescribed(path: Path) -> dict[str, list[Text]]:
    files = [path] if path.is_file() else sorted(file for file in path.glob("*") if file.suffix in SUFFIXES)
    if not files or any(file.suffix not in SUFFIXES for file in files):
        raise DataError(f"there are no texts at {path}; give a {' or '.join(SUFFIXES)} file, or a folder of them")
    if {file.stem for file in files} & set(LABELLED):
        return {file.stem: read(file) for file in files if file.stem in SPLITS}
    parts = split([text for file in files for text in read(file)])
    log.info("%s names no splits; its texts were split by their hashes: %s", path, _sizes(parts))
    return parts


def _tables(path: Path, tables: list[Path]) -> dict[str, list[Text]]:
    if not {table.stem for table in tables} & set(LABELLED):
        known, unknown = _by_label([text for table in tables for text in read(table)])
        parts = split(known) | {"unlabelled": unknown}
        log.info("%s names no splits; its texts were split by their hashes: %s", path, _sizes(parts))
        return parts
    parts = {table.stem: read(table) for table in tables if table.stem in SPLITS}
    parts["train"], unknown = _by_label(parts.get("train", []))
    parts["unlabelled"] = parts.get("unlabelled", []) + unknown
    if "val" not in parts and parts.get("train"):
        kept = split(parts["train"])
        parts |= {"train": kept["train"] + kept["test"], "val": kept["val"]}
        log.info("%s has no %s; every tenth text of train, by its hash, became it: %s", path, "val", _sizes(parts))
    return parts


def _by_label(texts: Sequence[Text]) -> tuple[list[Text], list[Text]]:
    return [text for text in texts if text.label is not None], [text for text in texts if text.label is None]


def _rows(path: Path, content: str) -> list[Text]:
    try:
        rows = csv.DictReader(io.StringIO(content, newline=""))
        columns = rows.fieldnames or []
        text, label = _column(path, columns, TEXT), _column(path, columns, LABEL, path.stem != "unlabelled")
        return [Text("", row[text] or "", (row[label] or None) if label else None) for row in rows]
    except csv.Error as error:
        raise DataError(f"{path} is no table: {error}") from None


def _column(path: Path, columns: Sequence[str], names: tuple[str, ...], needed: bool = True) -> str:
    """The first column of one of these names; empty where there is none and none is needed."""
    column = next((column for column in columns if column.strip().lower() in names), "")
    if needed and not column:
        raise DataError(
            f"{path} has the columns {', '.join(columns) or '(none)'}; one must be named {' or '.join(names)}"
        )
    return column


def _sizes(parts: dict[str, list[Text]]) -> str:
    return ", ".join(f"{len(texts):,} for {name}" for name, texts in parts.items())
