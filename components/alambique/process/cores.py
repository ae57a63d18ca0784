"""Which of the processor's cores compute."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def pinned(threads: int) -> Iterator[list[int] | None]:
    """Keep this thread, and the threads and processes that it starts, on as many cores as it computes with.

    Times vary less when nothing moves between caches. All that is timed shares these cores, so that a neighbour who
    keeps one of them busy is in the way of all alike. They are the last ones: the first serve most interrupts.

    Args:
        threads: how many cores, or all that this process may use, if they are fewer.
    Returns:
        the cores' numbers; None where the platform does not let one choose.
    """
    if not hasattr(os, "sched_setaffinity"):
        yield None
        return
    before = os.sched_getaffinity(0)
    chosen = sorted(before)[-threads:]
    os.sched_setaffinity(0, chosen)
    try:
        yield chosen
    finally:
        os.sched_setaffinity(0, before)
