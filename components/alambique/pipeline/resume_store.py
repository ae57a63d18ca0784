"""The state of a training that was killed: `resume/<stage key>/` on the DVC remote, since a retry has a new workspace.

The stage itself has no credentials: it finds an earlier state in a folder, and leaves newer ones there (see
`process.resume_dir`), which are uploaded while it runs.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

from alambique.errors import AlambiqueError
from alambique.pipeline.transfer import reaching
from alambique.process.resume_dir import STATE

if TYPE_CHECKING:
    from dvc.repo import Repo

SECONDS = 10.0
"""Between two looks for a newer state."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RemoteState:
    """A stage's state on the remote.

    Attributes:
        filesystem: of the DVC remote, as DVC configured it, credentials included.
        folder: path of what the stage's key has there.
    """

    filesystem: Any
    folder: str

    def get(self, target: Path) -> bool:
        """Download the state of an earlier try to `target`; False if there is none.

        Raises:
            TransientError: the remote is out of reach.
        """
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with reaching(self.folder):
                self.filesystem.get_file(self._path, str(target))
        except FileNotFoundError:
            return False
        return True

    def put(self, source: Path) -> None:
        """Replace the state; who reads it meanwhile sees the one before.

        Raises:
            TransientError: the remote is out of reach.
        """
        with reaching(self.folder):
            self.filesystem.put_file(str(source), self._path)

    def remove(self) -> None:
        """Remove all that is there.

        Raises:
            TransientError: the remote is out of reach.
        """
        with suppress(FileNotFoundError), reaching(self.folder):
            self.filesystem.rm(self.folder, recursive=True)

    @property
    def _path(self) -> str:
        return f"{self.folder}/{STATE}"


@contextmanager
def resumable(repo: Repo, key: str, folder: Path) -> Iterator[None]:
    """Have an earlier try's state in `folder`, the stage's; keep what is left there on the remote until the block ends
    well.

    Raises:
        TransientError: the remote is out of reach at the beginning; later on that is a warning.
    """
    remote = repo.cloud.get_remote()
    state = RemoteState(remote.fs, remote.fs.join(remote.path, "resume", key))
    file = folder / STATE
    exists = state.get(file)
    ended = Event()
    thread = Thread(target=_follow, args=(state, file, ended), name="alambique-resume", daemon=True)
    thread.start()
    try:
        yield
        exists = exists or file.exists()
        shutil.rmtree(folder)  # so that nothing is left to be uploaded
    finally:
        ended.set()
        thread.join()
    if exists:
        with _forgiving("remove"):
            state.remove()


def _follow(state: RemoteState, file: Path, ended: Event) -> None:
    sent, last = _stamp(file), False
    while not last:
        last = ended.wait(SECONDS)
        if (stamp := _stamp(file)) not in (None, sent):
            with _forgiving("upload"):
                state.put(file)
                sent = stamp


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
