"""Follow the event file to which a running stage appends its metrics, as `tail -f` does, for live curves."""

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
"""Between two reads of the file."""


@contextmanager
def following(send: Send, events: Path) -> Iterator[None]:
    """Pass the file's lines to `send` while the block runs, and the rest when it ends.

    Args:
        send: takes parsed lines; if it raises, it gets the same lines again together with the next ones.
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
            position = end  # only now, so that lines that could not be sent are sent again


def _complete_lines(events: Path, position: int) -> tuple[list[dict[str, Any]], int]:
    """The lines after `position` (bytes) and where they end; an unfinished line is left for the next read."""
    if not events.exists():
        return [], position
    with events.open("rb") as file:
        file.seek(position)
        content = file.read()
    whole = content[: content.rfind(b"\n") + 1]
    return [json.loads(line) for line in whole.splitlines()], position + len(whole)
