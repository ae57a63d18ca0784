"""Every error Alambique raises on purpose.

AlambiqueError
├── PermanentError          the same work would fail again: do not retry
│   ├── ConfigurationError  params.yaml, alambique.yaml or dvc.yaml is invalid (78)
│   ├── DataError           the dataset, or weights given by the user, are unusable (65)
│   ├── IntegrityError      bytes differ from their hash, lock entry or manifest (65)
│   └── ConflictError       another process changed the branch or ledger that this one was about to change (65)
└── TransientError          a service, the network or the disk failed: retry (75)

Exit codes are those of sysexits.h: 78 EX_CONFIG, 65 EX_DATAERR, 75 EX_TEMPFAIL, 70 EX_SOFTWARE.
A message says what failed, the value, and what to do next.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

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
        TransientError,
    )
}


FIELDS = ("type", "message", "exit_code")
"""Keys of the JSON that `write_error` writes."""


def write_error(error: BaseException) -> None:
    """Write `error` to the file named by $ALAMBIQUE_ERROR_FILE, if set, for the parent process."""
    if target := os.environ.get(ERROR_FILE):
        code = error.exit_code if isinstance(error, AlambiqueError) else AlambiqueError.exit_code
        content = dict(zip(FIELDS, (type(error).__name__, str(error), code), strict=True))
        Path(target).write_text(json.dumps(content))


def read_error(path: Path) -> AlambiqueError | None:
    """The error that a child process wrote to `path`, as an instance of its class; None if there is no file."""
    return as_error(json.loads(path.read_text())) if path.exists() else None


def as_error(content: Mapping[str, Any]) -> AlambiqueError | None:
    """The error that `write_error` wrote, as an instance of its class; None if this is something else."""
    if tuple(content) != FIELDS:
        return None
    kind = _BY_NAME.get(content["type"], AlambiqueError)
    message = content["message"] if kind.__name__ == content["type"] else f"{content['type']}: {content['message']}"
    return kind(message)
