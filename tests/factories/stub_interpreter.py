"""A stand-in for the ML interpreter: called like one, it runs a few lines of a test's own instead of a verb."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

PREAMBLE = """\
import json, os, signal, subprocess, sys, time
from pathlib import Path
from alambique import errors
from alambique.process import lifeline
verb, request, result = sys.argv[3], json.loads(Path(sys.argv[5]).read_text()), Path(sys.argv[7])
lifeline.watch()
"""


def interpreter(folder: Path, body: str) -> Path:
    """An executable in `folder` that runs `body` with `verb`, `request` (parsed) and `result` (a path) defined."""
    script = folder / "python"
    script.write_text(f"#!{sys.executable}\n{PREAMBLE}{body}")
    script.chmod(0o755)
    return script


def alive(pid: int) -> bool:
    """Whether a process still runs; one that nobody has reaped yet does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def eventually(condition: Callable[[], bool], seconds: float = 20.0) -> bool:
    """Whether `condition` comes to hold in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return condition()
