"""What a folder that somebody brings holds: files and folders named after splits, others, and tools' hidden ones."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from alambique.errors import DataError

NAMES = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev", "eval", "evaluation"),
    "test": ("test", "testing"),
    "unlabelled": ("unlabelled", "unlabeled", "unsupervised"),
}
"""What people call each split, in any case."""

SHARES = {"train": 0.8, "val": 0.1, "test": 0.1}
"""Of our own splits, where a dataset comes without."""
PREFERRED = ("test", "val", "train", "unlabelled")
"""A copy of a sample stays in the first of these splits that has one: nothing is measured on what was trained on."""

LISTED = 5
"""Names in a message at most."""

_SHARD = re.compile(r"-\d+-of-\d+$")
"""Hugging Face's end of a file that holds a part of a split: train-00000-of-00002.jsonl."""
_TOOLS = frozenset({"__macosx", "thumbs.db", "desktop.ini"})


def visible(folder: Path) -> list[Path]:
    """What lies in a folder, sorted, without hidden files and folders and those that macOS and Windows put there.

    Raises:
        DataError: a name is not UTF-8, as in archives from systems with another encoding.
    """
    found = sorted(path for path in folder.iterdir() if not is_hidden(path.name))
    for path in found:
        require_utf8(folder, path.name)
    return found


def require_utf8(folder: Path | str, name: str) -> None:
    """Raise a DataError for a file in `folder` whose name is not UTF-8."""
    try:
        name.encode()
    except UnicodeEncodeError:
        raise DataError(f"{folder} holds {os.fsencode(name)!r}, whose name is not UTF-8; rename it") from None


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name belongs to a tool: `.ipynb_checkpoints`, `._x.jpg`, `Thumbs.db`."""
    return name.startswith(".") or name.lower() in _TOOLS


def split_of(name: str) -> str | None:
    """The split that people mean by `name`, None if it is none of `NAMES`."""
    return next((split for split, names in NAMES.items() if name.strip().lower() in names), None)


def by_split(paths: Iterable[Path]) -> tuple[dict[str, list[Path]], list[Path]]:
    """Sort files and folders by the splits that they are named after; numbered parts of one file belong together.

    Returns:
        each split's, in the order of `NAMES`; then those that are named after none.
    Raises:
        DataError: two that are no parts of each other are named after one split.
    """
    found: dict[str, list[Path]] = {split: [] for split in NAMES}
    others: list[Path] = []
    for path in paths:
        split = split_of(path.name if path.is_dir() else _SHARD.sub("", path.stem))
        (others if split is None else found[split]).append(path)
    for split, same in found.items():
        if len({_whole(path) for path in same}) > 1:
            raise DataError(
                f"{' and '.join(str(path) for path in same[:LISTED])} are both {split} by their names; put them "
                f"together as {split}, or move one away"
            )
    return {split: same for split, same in found.items() if same}, others


def some(names: Sequence[str]) -> str:
    """The first names of a list, and how many more there are."""
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more


def _whole(path: Path) -> str:
    """A folder's name, or a file's without the number of its part."""
    return path.name if path.is_dir() else f"{_SHARD.sub('', path.stem)}{path.suffix}"
