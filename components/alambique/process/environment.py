"""The process that a stage or command runs in: its environment, set before any ML library is imported, its log, and how
it ends on an error."""

from __future__ import annotations

import ctypes
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from alambique.errors import AlambiqueError, from_os, message_of, write_error

log = logging.getLogger(__name__)

SETTINGS = {
    "DO_NOT_TRACK": "1",
    "GX_ANALYTICS_ENABLED": "false",
    "MPLBACKEND": "Agg",
    # Spinning threads that wait for one which another task's process has displaced cost a factor of ten.
    "OMP_WAIT_POLICY": "PASSIVE",
    "YOLO_AUTOINSTALL": "false",  # nothing installs packages at run time
    "YOLO_OFFLINE": "true",
    "YOLO_VERBOSE": "true",
}

PR_SET_DUMPABLE = 4
"""prctl(2)."""

RED, RESET = "\033[31m", "\033[0m"


def prepare() -> None:
    """Set what the caller left open: threads on purpose, no telemetry, ultralytics' settings out of the user's home."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    # OpenVINO and NNCF heed no variable. Without this module they use stubs of their own; with it they call home from a
    # fork of this process, threads and all.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    # Importing ultralytics sets this to 1 where it is unset: the teachers and evaluation would use a single core.
    os.environ.setdefault("OMP_NUM_THREADS", str(os.cpu_count() or 1))
    if "YOLO_CONFIG_DIR" not in os.environ:
        folder = Path(tempfile.gettempdir()) / f"alambique-yolo-{os.getuid()}"
        folder.mkdir(mode=0o700, exist_ok=True)
        os.environ["YOLO_CONFIG_DIR"] = str(folder)


def hide() -> None:
    """Keep this process's environment and memory, which hold credentials, from the other processes of its user.

    On Linux, `/proc/<pid>/environ` is then root's. Children are not hidden: an exec lifts it.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)


def configure_logging() -> None:
    """Let our log, from INFO on, be this process's output, which becomes the task's log."""
    logger = logging.getLogger("alambique")
    logger.setLevel(logging.INFO)
    logger.addHandler(logging.StreamHandler(sys.stdout))


@contextmanager
def errors_exit() -> Iterator[None]:
    """Turn an error raised on purpose, or a file system's, into one line and its exit code.

    Every error is left in $ALAMBIQUE_ERROR_FILE.
    """
    try:
        yield
    except BrokenPipeError:
        raise  # whoever reads our output has gone
    except OSError as error:
        if (named := from_os(error)) is None:
            write_error(error)
            raise
        log.debug("raised here", exc_info=True)
        _exit(named)
    except AlambiqueError as error:
        _exit(error)
    except Exception as error:
        write_error(error)
        raise


def _exit(error: AlambiqueError) -> NoReturn:
    write_error(error)
    line = f"{type(error).__name__}: {message_of(error)}\n"
    sys.stderr.write(f"{RED}{line}{RESET}" if sys.stderr.isatty() else line)
    sys.exit(error.exit_code)
