"""Atomic writes of files and folders, scratch folders, JSON files, and SHA-256 digests."""

from __future__ import annotations

import contextlib
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

from alambique.errors import AlambiqueError, IntegrityError

LONGEST_REASON = 500
"""Characters of a parser's words in a message."""
UNFINISHED = ".unfinished"
"""Suffix of a file that is being written, whose name begins with a dot; a killed process leaves it behind."""
LONGEST_STEM = 50
"""Characters of the file's name in it: a name has 255 bytes at most."""


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
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:LONGEST_STEM]}.", suffix=UNFINISHED)
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
    """The content of a JSON file; an IntegrityError if it is none."""
    with reading(path):
        return json.loads(path.read_text("utf-8"))


@contextmanager
def reading(path: Path, remedy: str = "restore it, or have it made again") -> Iterator[None]:
    """Whatever a parser, or who looks for the fields that it expects, raises over a file's content is one line.

    Raises:
        IntegrityError: instead of any other error than Alambique's own and the system's.
    """
    try:
        yield
    except AlambiqueError:
        raise
    except Exception as error:
        if (
            isinstance(error, OSError) and error.errno is not None
        ):  # of the system, and not of Arrow over a file's content
            raise
        words = " ".join(str(error).split())[:LONGEST_REASON]
        raise IntegrityError(f"{path} is damaged: {type(error).__name__}: {words}; {remedy}") from None


@contextmanager
def fresh_folder(target: Path) -> Iterator[Path]:
    """A temporary folder beside `target` which replaces it when the block ends well, and vanishes when it doesn't.

    A killed process leaves its folder behind; the next one for this target removes it. A process holds a lock on its
    folder, by which another knows that it is at work.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = f".{target.name}.unfinished-"
    with _locked_folder(target.parent):  # so that nobody sees a folder between its making and its locking
        for abandoned in target.parent.glob(f"{escape(unfinished)}*"):
            with (
                contextlib.suppress(OSError),
                _locked_folder(abandoned, fcntl.LOCK_NB),
            ):  # OSError: its owner is at work
                shutil.rmtree(abandoned)
        temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=unfinished))
        held = contextlib.ExitStack()
        held.enter_context(_locked_folder(temporary))
    try:
        yield temporary
        shutil.rmtree(target, ignore_errors=True)
        temporary.chmod(0o755)
        temporary.replace(target)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    finally:
        held.close()


@contextmanager
def _locked_folder(folder: Path, flags: int = 0) -> Iterator[None]:
    """An exclusive lock on a folder, which the kernel lets go when the process ends in whatever way."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | flags)
        yield
    finally:
        os.close(descriptor)


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
