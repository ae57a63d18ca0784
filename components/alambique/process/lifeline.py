"""A child that ends with its parent, even when the parent is killed outright and can clean up nothing.

The parent holds the write end of a pipe and never writes; the child inherits the read end. When the parent is gone,
however it went, the kernel closes the write end and the child reads the end of the file.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator

LIFELINE = "ALAMBIQUE_LIFELINE"
"""Environment variable holding the file descriptor of the pipe's read end."""


@contextlib.contextmanager
def hold() -> Iterator[int]:
    """The read end of a pipe whose write end this process alone holds, until the block or the process ends.

    Give a child the descriptor, and its number in the variable.
    """
    read, write = os.pipe()
    try:
        yield read
    finally:
        os.close(read)
        os.close(write)


def watch() -> None:
    """Kill this process's whole group once the parent has closed its end of the pipe.

    Does nothing when the variable is unset. The parent must have started this process in a group of its own.
    """
    descriptor = os.environ.pop(LIFELINE, None)  # the number means nothing to this process's own children
    if descriptor is None:
        return
    os.set_inheritable(int(descriptor), False)
    threading.Thread(target=_end_with_parent, args=(int(descriptor),), name="lifeline", daemon=True).start()


def _end_with_parent(descriptor: int) -> None:
    os.read(descriptor, 1)  # blocks until the end of the file
    os.killpg(os.getpgrp(), signal.SIGKILL)
