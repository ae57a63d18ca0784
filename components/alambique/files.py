"""Atomic writes of files and folders, scratch folders, JSON files, and SHA-256 digests."""

from __future__ import annotations

import fcntl
import hashlib
import json
import math
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from glob import escape
from pathlib import Path
from typing import IO, Any


def sha256(path: Path) -> str:
    """Hex digest of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder_sha256(folder: Path, exclude: tuple[str, ...] = ()) -> str:
    """Hex digest over the sorted relative paths and contents of a folder's files.

    Args:
        folder: what to digest; links are followed.
        exclude: file names (not paths) left out.
    """
    lines = [
        f"{sha256(path)}  {path.relative_to(folder).as_posix()}\n"
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in exclude
    ]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically: temporary name beside it, fsync, rename."""
    with _beside(path, content) as temporary:
        temporary.replace(path)


def create_bytes(path: Path, content: bytes) -> None:
    """`write_bytes` of a file that must not exist yet, or FileExistsError; the check is atomic, too."""
    with _beside(path, content) as temporary:
        path.hardlink_to(temporary)  # unlike a rename, it fails when the target exists


@contextmanager
def _beside(path: Path, content: bytes) -> Iterator[Path]:
    """A temporary file in the folder of `path`, complete and on disk; gone after the block unless it was moved."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:  # of a full disk, which does not say where
            raise OSError(error.errno, error.strerror, str(path)) from error
        temporary.chmod(0o644)
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, content: str) -> None:
    """`write_bytes` in UTF-8."""
    write_bytes(path, content.encode())


def json_text(content: Any) -> str:
    """The one text of `content` as JSON: sorted keys and no date, so that equal work gives equal hashes. What is not
    finite becomes null, since JSON has no word for it."""
    return json.dumps(_finite(content), indent=2, sort_keys=True, allow_nan=False) + "\n"


def write_json(path: Path, content: Any) -> None:
    """`write_text` of `json_text`."""
    write_text(path, json_text(content))


def read_json(path: Path) -> Any:
    """The content of a JSON file."""
    return json.loads(path.read_text())


@contextmanager
def fresh_folder(target: Path) -> Iterator[Path]:
    """A temporary folder beside `target` which replaces it when the block ends well, and vanishes when it doesn't.

    A killed process leaves its folder behind; the next one for this target removes it.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = f".{target.name}.unfinished-"
    for abandoned in target.parent.glob(f"{escape(unfinished)}*"):
        shutil.rmtree(abandoned)
    temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=unfinished))
    try:
        yield temporary
        shutil.rmtree(target, ignore_errors=True)
        temporary.chmod(0o755)
        temporary.replace(target)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


@contextmanager
def scratch(root: Path, name: str) -> Iterator[Path]:
    """A fresh folder inside `root`, named after `name`, for this process alone; removed when the block ends.

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
