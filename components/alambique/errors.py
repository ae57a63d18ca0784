"""Every error Alambique raises on purpose.

AlambiqueError
├── PermanentError          the same work would fail again: do not retry
│   ├── ConfigurationError  params.yaml, alambique.yaml or dvc.yaml is invalid (78)
│   ├── DataError           the dataset, or weights given by the user, are unusable (65)
│   ├── IntegrityError      bytes differ from their hash, lock entry or manifest (65)
│   └── ConflictError       another process changed the branch or ledger that this one was about to change (65)
├── FileError               the system refuses a file or folder: rights, or what lies in its place (74); another worker
│                           may have it, so tasks are retried
└── TransientError          a service, the network or the disk failed: retry (75)

Exit codes are those of sysexits.h: 78 EX_CONFIG, 65 EX_DATAERR, 74 EX_IOERR, 75 EX_TEMPFAIL, 70 EX_SOFTWARE.
A message says what failed, the value, and what to do next.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alambique.urls import without_credentials

ERROR_FILE = "ALAMBIQUE_ERROR_FILE"
"""Environment variable with the path of the file that a stage writes its error to: `dvc repro` exits with 255."""


class AlambiqueError(Exception):
    """The root; raised itself only for unexpected failures."""

    exit_code = 70


class PermanentError(AlambiqueError):
    """A retry does the same work and fails the same way."""

    exit_code = 65


class ConfigurationError(PermanentError):
    """A configuration file is invalid; the message names the key's path."""

    exit_code = 78


class DataError(PermanentError):
    """The dataset or a given checkpoint cannot be used; the message names the offending files."""


class IntegrityError(PermanentError):
    """Bytes differ from their hash, lock entry or manifest."""


class ConflictError(PermanentError):
    """A branch or ledger was changed by another process since this one read it."""


class FileError(AlambiqueError):
    """The system refuses a file or folder; the message names it."""

    exit_code = 74


class TransientError(AlambiqueError):
    """A service, the network or the disk failed in a way that may pass."""

    exit_code = 75


_BY_NAME: dict[str, type[AlambiqueError]] = {
    kind.__name__: kind
    for kind in (
        AlambiqueError,
        PermanentError,
        ConfigurationError,
        DataError,
        IntegrityError,
        ConflictError,
        FileError,
        TransientError,
    )
}


FIELDS = ("type", "message", "exit_code")
"""Keys of the JSON that `write_error` writes."""


MAY_PASS = frozenset(
    {
        *(errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.EBUSY),
        *(errno.ESTALE, errno.ETIMEDOUT, errno.EINTR, errno.ETXTBSY),
    }
)
"""Failures of the system after which the same call may succeed: when somebody has made room, for example."""


def from_os(error: OSError) -> AlambiqueError | None:
    """What an operating system's error means to whoever ran a command: the path, the reason, the remedy.

    None where it is none of a file system's, as those that libraries derive from OSError.
    """
    if isinstance(error, shutil.Error) and error.args and error.args[0] and isinstance(error.args[0], list):
        source, target, reason = error.args[0][0]  # of a tree's copy, the first that failed
        if os.strerror(errno.ENOSPC) in str(reason):
            return _refusal(errno.ENOSPC, f"{target}: {os.strerror(errno.ENOSPC)}")
        return FileError(f"cannot copy {source} to {target}: {reason}")
    if error.errno is None or (error.filename is None and error.errno not in MAY_PASS):
        return None
    paths = " and ".join(
        os.fsdecode(path) for path in (error.filename, error.filename2) if isinstance(path, str | bytes)
    )
    return _refusal(error.errno, f"{paths or 'a file'}: {error.strerror or os.strerror(error.errno)}")


def _refusal(number: int, message: str) -> AlambiqueError:
    if number in (errno.ENOSPC, errno.EDQUOT):
        return TransientError(f"{message}; make room there, and start again")
    if number in MAY_PASS:
        return TransientError(f"{message}; start again")
    if number in (errno.EACCES, errno.EPERM, errno.EROFS):
        return FileError(f"{message}; give this user the right to it, or name another place")
    return FileError(f"{message}; correct the path, or what lies there")


def message_of(error: BaseException) -> str:
    """An error's message without the credentials of URLs, which others' messages may repeat."""
    return without_credentials(str(error))


def write_error(error: BaseException) -> None:
    """Write `error` to the file named by $ALAMBIQUE_ERROR_FILE, if set, for the parent process."""
    if target := os.environ.get(ERROR_FILE):
        code = error.exit_code if isinstance(error, AlambiqueError) else AlambiqueError.exit_code
        content = dict(zip(FIELDS, (type(error).__name__, message_of(error), code), strict=True))
        with contextlib.suppress(OSError):  # a full disk is often the error itself, which the log has, too
            Path(target).write_text(json.dumps(content))


def read_error(path: Path) -> AlambiqueError | None:
    """The error that a child process wrote to `path`, as an instance of its class; None if it could write none."""
    try:
        return as_error(json.loads(path.read_text()))
    except (FileNotFoundError, ValueError):
        return None


def as_error(content: Any) -> AlambiqueError | None:
    """The error that `write_error` wrote, as an instance of its class; None if this is something else."""
    if not isinstance(content, Mapping) or tuple(content) != FIELDS:
        return None
    kind = _BY_NAME.get(content["type"], AlambiqueError)
    message = content["message"] if kind.__name__ == content["type"] else f"{content['type']}: {content['message']}"
    return kind(message)
