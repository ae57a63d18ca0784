"""The state of a training that was killed: `resume/<stage key>/` on the DVC remote, since a retry has a new workspace.

The stage itself has no credentials: it finds an earlier state in a folder, and leaves newer ones there (see
`process.resume_dir`), which are uploaded while it runs.

With the deployment's key (see `authentication`) a state's code is part of its name, so that both appear at once, and
only states with the right one are read.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

from alambique.errors import AlambiqueError
from alambique.pipeline import authentication
from alambique.pipeline.transfer import reaching
from alambique.process.resume_dir import STATE

if TYPE_CHECKING:
    from dvc.repo import Repo

SECONDS = 10.0
"""Between two looks for a newer state."""

log = logging.getLogger(__name__)


@contextmanager
def resumable(repo: Repo, key: str, folder: Path) -> Iterator[None]:
    """Have an earlier try's state in `folder`, the stage's; keep what is left there on the remote until the block ends
    well.

    Raises:
        TransientError: the remote is out of reach at the beginning; later on that is a warning.
    """
    remote = repo.cloud.get_remote()
    place = remote.fs.join(remote.path, "resume", key)
    file = folder / STATE
    secret = authentication.secret()
    exists = _download(remote.fs, place, file, secret)
    ended = Event()
    thread = Thread(target=_follow, args=(remote.fs, place, file, ended, secret), name="alambique-resume", daemon=True)
    thread.start()
    try:
        yield
        exists = exists or file.exists()
        shutil.rmtree(folder)  # so that nothing is left to be uploaded
    finally:
        ended.set()
        thread.join()
    if exists:
        with _forgiving("remove"), suppress(FileNotFoundError), reaching(place):
            remote.fs.rm(place, recursive=True)


def _download(filesystem: Any, place: str, file: Path, secret: bytes | None) -> bool:
    """Get the state of an earlier try; False if there is none."""
    file.parent.mkdir(parents=True, exist_ok=True)
    for name in _names(filesystem, place) if secret else [STATE]:
        try:
            with reaching(place):
                filesystem.get_file(f"{place}/{name}", str(file))
        except FileNotFoundError:
            continue
        if not secret or authentication.matches(_name(file, place, secret), name):
            return True
        log.warning("%s/%s was not written with this deployment's key, and is not read", place, name)
        file.unlink()
    return False


def _names(filesystem: Any, place: str) -> list[str]:
    """The states at a place, of which a writer that was killed may leave two."""
    try:
        with reaching(place):
            paths = filesystem.ls(place, detail=False)
    except FileNotFoundError:
        return []
    return sorted(name for path in paths if (name := PurePosixPath(path).name).startswith(STATE))


def _name(file: Path, place: str, secret: bytes | None) -> str:
    """The name of a state on the remote."""
    if secret is None:
        return STATE
    return f"{STATE}.{authentication.code(secret, f'state {PurePosixPath(place).name}', file)}"


def _follow(filesystem: Any, place: str, file: Path, ended: Event, secret: bytes | None) -> None:
    """Replace the state on the remote by each newer one; who reads it meanwhile sees the one before."""
    sent, last = _stamp(file), False
    while not last:
        last = ended.wait(SECONDS)
        if (stamp := _stamp(file)) not in (None, sent):
            with _forgiving("upload"), reaching(place):
                name = _name(file, place, secret)
                filesystem.put_file(str(file), f"{place}/{name}")
                sent = stamp
                if secret:
                    filesystem.rm([f"{place}/{old}" for old in _names(filesystem, place) if old != name])


def _stamp(file: Path) -> tuple[int, int] | None:
    """What tells a file from the one that replaces it."""
    try:
        status = file.stat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_mtime_ns


@contextmanager
def _forgiving(what: str) -> Iterator[None]:
    """Turn a failure into a warning: a state that is not on the remote is not worth the training."""
    try:
        yield
    except (AlambiqueError, OSError) as error:
        log.warning("could not %s the training's state, going on without: %s", what, error)
