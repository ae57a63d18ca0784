"""Pickles that somebody gave us: loading one can run any code, so a child does it that has nothing to give away."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from alambique.errors import DataError

MINUTES = 10


def run(module: str, path: Path, *arguments: str) -> None:
    """Run a module with a file and arguments, without credentials, in an empty home.

    Ultralytics builds only its own and torch's layers there.

    Raises:
        DataError: the child failed; with its last words.
    """
    with tempfile.TemporaryDirectory() as home:
        environment = {
            "HOME": home,
            "PATH": os.defpath,
            "PYTHONPATH": os.pathsep.join(sys.path),
            "ULTRALYTICS_SAFE_LOAD": "1",
            "YOLO_AUTOINSTALL": "false",
            "YOLO_CONFIG_DIR": home,
            "YOLO_OFFLINE": "true",
        }
        done = subprocess.run(
            [sys.executable, "-m", module, str(path.absolute()), *arguments],
            check=False,
            env=environment,
            cwd=home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=MINUTES * 60,
        )
    if done.returncode:
        words = done.stderr.strip().splitlines() or [f"the child ended with {done.returncode}"]
        named = str(path.absolute()) in words[-1]
        raise DataError(words[-1] if named else f"cannot use {path}: {words[-1]}")
