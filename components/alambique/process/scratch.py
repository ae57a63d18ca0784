"""Folders that one process owns, removed when it is done with them, or by the next one when it was killed."""

from __future__ import annotations

import fcntl
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def scratch(root: Path, name: str) -> Iterator[Path]:
    """A fresh folder inside `root`, named after `name`, for this process alone.

    The owner holds a lock on a file in it, which the kernel lets go when the process ends in whatever way: a folder
    whose lock is free was abandoned.
    """
    root.mkdir(parents=True, exist_ok=True)
    with _locked(root / ".lock"):  # so that nobody sees a folder between its making and its locking
        for owner in root.glob("*/owner"):
            _remove_abandoned(owner)
        folder = Path(tempfile.mkdtemp(dir=root, prefix=re.sub(r"[^A-Za-z0-9_.-]", "-", name) + "-"))
        held = _locked(folder / "owner")
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        held.close()


def _remove_abandoned(owner: Path) -> None:
    try:
        with _locked(owner, fcntl.LOCK_NB):
            shutil.rmtree(owner.parent, ignore_errors=True)
    except (BlockingIOError, FileNotFoundError):  # its owner is at work, or has just removed it
        return


def _locked(path: Path, flags: int = 0) -> IO[bytes]:
    """An open file that holds an exclusive lock on `path` until it is closed."""
    file = path.open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | flags)
    except BaseException:
        file.close()
        raise
    return file
