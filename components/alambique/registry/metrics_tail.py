"""Live curves: follow the file to which a running stage appends its metrics."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any

from alambique.registry.client import forgiving

Send = Callable[[list[dict[str, Any]]], None]
SECONDS = 2.0
"""Between two looks at the file."""


@contextmanager
def following(send: Send, events: Path) -> Iterator[None]:
    """Hand the file's lines to `send` while the block runs, and the rest of them when it ends.

    Args:
        send: takes parsed lines; when it raises, they are handed to it again together with the next.
        events: JSON lines; may not exist yet.
    """
    ended = Event()
    thread = Thread(target=_follow, args=(send, events, ended), name="alambique-events", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _follow(send: Send, events: Path, ended: Event) -> None:
    position, last = 0, False
    while not last:
        last = ended.wait(SECONDS)
        with forgiving("log live metrics"):
            lines, end = _complete_lines(events, position)
            send(lines)
            position = end  # only now: lines that could not be sent are sent again


def _complete_lines(events: Path, position: int) -> tuple[list[dict[str, Any]], int]:
    """The lines after `position` (bytes) and where they end; a line still being written waits for the next look."""
    if not events.exists():
        return [], position
    with events.open("rb") as file:
        file.seek(position)
        content = file.read()
    whole = content[: content.rfind(b"\n") + 1]
    return [json.loads(line) for line in whole.splitlines()], position + len(whole)
