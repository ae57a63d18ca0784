"""How a command's process ends on an error: one line, the error's exit code, and a file for the process that waits."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from alambique.errors import AlambiqueError, write_error

RED, RESET = "\033[31m", "\033[0m"


@contextmanager
def errors_exit() -> Iterator[None]:
    """Turn an error raised on purpose into one line and its exit code; leave every error in $ALAMBIQUE_ERROR_FILE."""
    try:
        yield
    except AlambiqueError as error:
        write_error(error)
        line = f"{type(error).__name__}: {error}\n"
        sys.stderr.write(f"{RED}{line}{RESET}" if sys.stderr.isatty() else line)
        sys.exit(error.exit_code)
    except Exception as error:
        write_error(error)
        raise
