"""Copy texts into the canonical layout: JSON Lines, or plain text with blank lines between samples.

Texts without splits are split by their own hashes, 80 : 10 : 10, so that equal texts are in one split.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from pathlib import Path

from alambique.config import read_yaml
from alambique.data.dataset import LABELLED, SPLITS, class_names
from alambique.errors import DataError
from alambique.tasks.transformers.dataset import SUFFIX, Text, class_labels, parse, write

SUFFIXES = (SUFFIX, ".txt")
SHARES = {"train": 0.8, "val": 0.1, "test": 0.1}

log = logging.getLogger(__name__)


def import_dataset(source: str, target: Path) -> None:
    """Copy the texts of `source` to `target`.

    Args:
        source: a data.yaml, a folder with one, a folder of .jsonl or .txt files (named after splits, or not), or one
            such file.
        target: to be made; see `dataset.Texts`.
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
    for split in LABELLED:
        if not splits.get(split):
            raise DataError(
                f"{source} has no texts for `{split}`. Alambique trains on train, decides on val and measures once on "
                f"test: give it {split}{SUFFIX}, or one file alone, which is split by itself"
            )
    write(target, splits, classes)


def read(path: Path) -> list[Text]:
    """The samples of a .jsonl or .txt file.

    Raises:
        DataError: it cannot be read, or a line is no sample; the message names file and line.
    """
    try:
        content = path.read_text()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}; correct the path") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8: {error.reason} at byte {error.start}") from None
    if path.suffix == ".txt":
        return [Text("", part.strip()) for part in re.split(r"\n\s*\n", content) if part.strip()]
    texts = []
    for number, line in enumerate(content.split("\n"), start=1):
        if line.strip():
            try:
                texts.append(parse("", json.loads(line)))
            except json.JSONDecodeError as error:
                raise DataError(f"{path}:{number}: not JSON: {error.msg} at column {error.colno}") from None
            except ValueError as error:
                raise DataError(f"{path}:{number}: {error}") from None
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
    sizes = ", ".join(f"{len(texts)} for {name}" for name, texts in parts.items())
    log.info("%s names no splits; its texts were split by their hashes: %s", path, sizes)
    return parts
