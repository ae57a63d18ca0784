"""Keep one copy of samples that are in several splits, so that nothing is measured on what was trained on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from alambique.data.source_files import PREFERRED, some
from alambique.errors import ConfigurationError

if TYPE_CHECKING:
    import pandas as pd


def drop_copies(root: Path, tables: Mapping[str, pd.DataFrame]) -> list[str]:
    """Remove samples from the dataset in `root` that an earlier split of `PREFERRED` has, by their bytes or text.

    Args:
        tables: the dataset's facts, of `Task.facts`.
    Returns:
        a line for each split that lost some.
    Raises:
        ConfigurationError: the task's facts do not tell which samples are equal.
    """
    name = next((name for name in ("images", "texts") if "sha256" in tables.get(name, ())), None)
    if name is None:
        raise ConfigurationError("--deduplicate: this task does not tell which samples are equal; part them yourself")
    first: dict[str, int] = {}
    rows = [
        (PREFERRED.index(split), path, digest)
        for split, path, digest in zip(*(tables[name][key] for key in ("split", "path", "sha256")), strict=True)
    ]
    for rank, _, digest in rows:
        first[digest] = min(rank, first.get(digest, rank))
    dropped: dict[str, list[str]] = defaultdict(list)
    for rank, path, digest in rows:
        if rank > first[digest]:
            dropped[PREFERRED[rank]].append(path)
    for split, paths in dropped.items():
        if name == "images":
            _unlink(root, paths)
        else:
            _cut_lines(root / f"{split}.jsonl", paths)
    return [
        f"{len(paths):,} {name} of {split} dropped: {_kept(split)} ({some(paths)})" for split, paths in dropped.items()
    ]


def _kept(split: str) -> str:
    return f"they are in {' or '.join(PREFERRED[: PREFERRED.index(split)])}, too"


def _unlink(root: Path, paths: list[str]) -> None:
    for path in paths:
        (root / path).unlink()
        (root / "labels" / Path(path).relative_to("images")).with_suffix(".txt").unlink(missing_ok=True)


def _cut_lines(file: Path, paths: list[str]) -> None:
    """Take lines out of a split of texts; a sample is called after its line, counted from 0."""
    numbers = {int(path.rpartition("/")[2]) for path in paths}
    kept = [line for number, line in enumerate(file.read_bytes().split(b"\n")) if number not in numbers]
    file.write_bytes(b"\n".join(kept))
