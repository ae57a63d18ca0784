"""Copy labelled texts into the canonical layout: JSON Lines, or tables of texts and labels."""

from __future__ import annotations

import csv
import logging
from collections.abc import Sequence
from pathlib import Path

from alambique.data.dataset import LABELLED, SPLITS
from alambique.errors import DataError
from alambique.tasks.transformers.dataset import Text, class_labels, key, write
from alambique.tasks.transformers.import_dataset import import_dataset
from alambique.tasks.transformers.import_dataset import split as split_by_hash

SUFFIX = ".csv"
TEXT = ("text", "sentence", "utterance")
LABEL = ("label", "category", "intent", "class")
"""Names that a table's columns may have."""
VAL, UNLABELLED = "val", "unlabelled"

log = logging.getLogger(__name__)


def import_labelled(source: str, target: Path) -> None:
    """Copy the texts of `source` to `target`.

    Tables may come as one file, which is split by the texts' hashes, or as a folder of train, test and perhaps val and
    unlabelled; a val that is missing is split off train. Rows of train without a label are unlabelled texts.

    Args:
        source: a .csv file, or a folder of them; or what the language models' `import_dataset` takes, with labels.
        target: to be made; see `alambique.tasks.transformers.dataset.Texts`.
    Raises:
        DataError: what is wrong with it, and where.
    """
    path = Path(source).expanduser()
    tables = [path] if path.suffix == SUFFIX else sorted(path.glob(f"*{SUFFIX}")) if path.is_dir() else []
    if not tables or (path / "data.yaml").is_file():
        import_dataset(source, target)
        return
    splits = {split: texts for split, texts in disjoint(_splits(path, tables)).items() if texts}
    for name in LABELLED:
        if name not in splits:
            raise DataError(
                f"{source} has no texts for `{name}`. Alambique trains on train, decides on val and measures once on "
                f"test: give it {name}{SUFFIX}, or one table alone, which is split by itself"
            )
    write(target, splits, class_labels(splits))


def read(path: Path) -> list[Text]:
    """The samples of a table with a header; a label that is empty is none.

    Raises:
        DataError: it cannot be read, or lacks a column; the message names it.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file)
            columns = rows.fieldnames or []
            text, label = _column(path, columns, TEXT), _column(path, columns, LABEL, path.stem != UNLABELLED)
            return [Text("", row[text] or "", (row[label] or None) if label else None) for row in rows]
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}; correct the path") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8: {error.reason} at byte {error.start}") from None
    except csv.Error as error:
        raise DataError(f"{path} is no table: {error}") from None


def disjoint(splits: dict[str, list[Text]]) -> dict[str, list[Text]]:
    """Each text in one split alone: in test rather than val, in val rather than train. Tables of the field repeat some.

    Args:
        splits: with their texts.
    """
    taken: set[str] = set()
    kept: dict[str, list[Text]] = {}
    for split in ("test", VAL, "train", UNLABELLED):
        if split in splits:
            kept[split] = [text for text in splits[split] if key(text) not in taken]
            if left_out := len(splits[split]) - len(kept[split]):
                log.warning("%d texts of %s were left out: they stand in another split, too", left_out, split)
            taken |= {key(text) for text in splits[split]}
    return {split: kept[split] for split in splits}


def _splits(path: Path, tables: list[Path]) -> dict[str, list[Text]]:
    """The samples of each split, in their order."""
    if not {table.stem for table in tables} & set(LABELLED):
        known, unknown = _by_label([text for table in tables for text in read(table)])
        parts = split_by_hash(known) | {UNLABELLED: unknown}
        log.info("%s names no splits; its texts were split by their hashes: %s", path, _sizes(parts))
        return parts
    parts = {table.stem: read(table) for table in tables if table.stem in SPLITS}
    parts["train"], unknown = _by_label(parts.get("train", []))
    parts[UNLABELLED] = parts.get(UNLABELLED, []) + unknown
    if VAL not in parts and parts.get("train"):
        kept = split_by_hash(parts["train"])
        parts |= {"train": kept["train"] + kept["test"], VAL: kept[VAL]}
        log.info("%s has no %s; every tenth text of train, by its hash, became it: %s", path, VAL, _sizes(parts))
    return parts


def _by_label(texts: Sequence[Text]) -> tuple[list[Text], list[Text]]:
    """Those with a label, and those without."""
    return [text for text in texts if text.label is not None], [text for text in texts if text.label is None]


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
