"""Copy texts, as people have them, into the canonical layout; `read_texts` says which files are taken.

Texts without splits are split by their own hashes, 80 : 10 : 10, so that equal texts are in one split.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from alambique.data.dataset import DESCRIPTION, LABELLED, class_names, read_description
from alambique.data.source_files import NAMES, by_split, some, split_of, visible
from alambique.errors import DataError
from alambique.tasks.transformers.dataset import SUFFIX, Text, class_labels, write
from alambique.tasks.transformers.read_texts import PLAIN, SUFFIXES, read
from alambique.tasks.transformers.split_texts import disjoint, split, split_val_off

Splits = dict[str, list[Text]]

TABLES_FIRST = ((".csv",), (".tsv",), (SUFFIX, PLAIN), (".json",))
TABLES_LAST = ((SUFFIX, PLAIN), (".csv",), (".tsv",), (".json",))
"""Of a folder whose files are named after no splits, those of the first kind that it has are taken."""

log = logging.getLogger(__name__)


def import_dataset(source: str, target: Path) -> None:
    """Copy the texts of `source` to `target`, which is made; see `dataset.Texts`.

    Conversations in which no assistant speaks are left out: there is nothing to learn in them.

    Args:
        source: a data.yaml, a folder with one, a folder of files (named after splits, or not), or one such file.
    Raises:
        DataError: what is wrong with it, and where.
    """
    splits, classes = _read(Path(source).expanduser(), labelled=False)
    if "all" in splits:
        splits = split(_answered(source, splits["all"]), least=1, by_class=False)
        _say_split(source, splits)
    else:
        splits = {name: _answered(source, texts) for name, texts in splits.items()}
    _write(source, target, splits, classes)


def import_labelled(source: str, target: Path, least: int = 1) -> None:
    """Copy labelled texts of `source` to `target`, which is made; see `dataset.Texts`.

    A val that is missing is split off train. Rows of train without a label are unlabelled texts.

    Args:
        source: what `import_dataset` takes, with labels.
        least: texts that each class has in each split, where the source has none and Alambique makes them.
    Raises:
        DataError: what is wrong with it, and where.
    """
    splits, classes = _read(Path(source).expanduser(), labelled=True)
    known, unknown = _by_label(splits.pop("all", splits.get("train", [])))
    given = splits.pop("unlabelled", [])
    if not splits:
        splits = split(known, least, by_class=True)
        _say_split(source, splits)
    elif "val" not in splits and known:
        splits |= split_val_off(known, least)
        log.info("%s has no val; every tenth text of train, by its hash, became it: %s", source, _sizes(splits))
    else:
        splits["train"] = known
    splits["unlabelled"] = given + unknown
    for name in ("val", "test"):
        if missing := _by_label(splits.get(name, []))[1]:
            raise DataError(f"{source}: {missing[0].name} is in {name} and has no label; give it one, or remove it")
    splits = {name: splits[name] for name in NAMES if splits.get(name)}
    _write(source, target, {name: texts for name, texts in disjoint(splits).items() if texts}, classes)


def _read(path: Path, labelled: bool) -> tuple[Splits, list[str]]:
    """The texts of each split, or of "all" where no splits are named; and the classes, if a data.yaml names them."""
    described = path / DESCRIPTION if path.is_dir() else path
    if described.name == DESCRIPTION and described.is_file():
        return _described(described, labelled)
    if path.is_file() and path.suffix.lower() in SUFFIXES:
        return {"all": read(path, labelled, by_line=True)}, []
    present = visible(path) if path.is_dir() else []
    files = [file for file in present if file.is_file() and file.suffix.lower() in SUFFIXES]
    named, _ = by_split(files)
    if set(named) & set(LABELLED):
        splits = {name: _read_all(parts, labelled, by_line=labelled) for name, parts in named.items()}
        taken = [file for parts in named.values() for file in parts]
    else:
        kinds = TABLES_FIRST if labelled else TABLES_LAST
        groups = [[file for file in files if file.suffix.lower() in kind] for kind in kinds]
        taken = next((group for group in groups if group), [])
        splits = {"all": _read_all(taken, labelled, by_line=True)}
    left_out = [file.name for file in present if file not in taken]
    if not taken:
        found = some(left_out) or ("an empty folder" if path.is_dir() else "a file" if path.is_file() else "nothing")
        raise DataError(
            f"there are no texts at {path} (found {found}); give a {' or '.join(SUFFIXES)} file, or a folder of them"
        )
    if left_out:
        log.warning("%s: left out, being named after no split or not of the kind: %s", path, ", ".join(left_out))
    return splits, []


def _described(file: Path, labelled: bool) -> tuple[Splits, list[str]]:
    content = read_description(file, "it needs train, val and test")
    splits: Splits = {}
    for key, value in content.items():
        name = split_of(str(key))
        if name in splits:
            raise DataError(f"{file}: {key}: {name} is named already; put the texts together")
        if name is not None and value:
            splits[name] = read(_beside(file, key, value), labelled, by_line=labelled)
        elif value and key not in {"names", "nc", "path"}:
            log.warning("%s: left out, being named after no split: %s", file, key)
    names = content.get("names")
    return splits, class_names(names, file) if names else []


def _beside(file: Path, key: Any, value: Any) -> Path:
    """The file that a data.yaml names, which lies in its folder or below."""
    inside = Path(os.path.normpath(str(value)))
    if not isinstance(value, str) or inside.is_absolute() or ".." in inside.parts:
        raise DataError(f"{file}: {key}: expected a file in the folder of {file.name}, got {value!r:.80}")
    if inside.suffix.lower() not in SUFFIXES:
        raise DataError(f"{file}: {key}: {value} is not a {' or '.join(SUFFIXES)} file")
    return file.parent / inside


def _read_all(files: Sequence[Path], labelled: bool, by_line: bool) -> list[Text]:
    return [text for file in files for text in read(file, labelled, by_line)]


def _answered(source: str, texts: list[Text]) -> list[Text]:
    """The texts without the conversations that hold nothing to learn."""
    kept = [text for text in texts if not text.messages or any(map(_is_answer, text.messages))]
    if left_out := [text.name for text in texts if text.messages and not any(map(_is_answer, text.messages))]:
        what = f"{len(left_out)} conversations without a message of an assistant, which students learn to write"
        if not kept:
            raise DataError(f"{source} holds only {what} ({some(left_out)}); give some with answers, or plain texts")
        log.warning("%s: left out: %s (%s)", source, what, some(left_out))
    return kept


def _is_answer(message: dict[str, str]) -> bool:
    return message["role"] == "assistant" and bool(message["content"].strip())


def _by_label(texts: Sequence[Text]) -> tuple[list[Text], list[Text]]:
    return [text for text in texts if text.label is not None], [text for text in texts if text.label is None]


def _say_split(source: str, splits: Splits) -> None:
    log.info("%s names no splits; its texts were split by their hashes: %s", source, _sizes(splits))


def _sizes(parts: Splits) -> str:
    return ", ".join(f"{len(texts):,} for {name}" for name, texts in parts.items())


def _write(source: str, target: Path, splits: Splits, classes: list[str]) -> None:
    for name in LABELLED:
        if not splits.get(name):
            has = ", ".join(f"{len(texts)} for {split}" for split, texts in splits.items()) or "none at all"
            raise DataError(
                f"{source} has no texts for `{name}` (it has {has}). Alambique trains on train, decides on val and "
                f"measures once on test: give it a file named {name}, or all texts in one file, to be split"
            )
    write(target, splits, classes or class_labels(splits))
