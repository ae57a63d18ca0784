"""Files that somebody gave us, whose readers can run any code or may have gaps: a child opens them that has nothing to
give away."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import weakref
from pathlib import Path
from typing import IO, Any

from alambique.errors import DataError

MINUTES = 10


def run(module: str, path: Path, *arguments: str) -> None:
    """Run a module with a file and arguments, without credentials, in an empty home.

    Ultralytics builds only its own and torch's layers there.

    Raises:
        DataError: the child failed; with its last words.
    """
    with tempfile.TemporaryDirectory() as home:
        done = subprocess.run(
            _command(module, path, arguments),
            check=False,
            env=_environment(home),
            cwd=home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=MINUTES * 60,
        )
    if done.returncode:
        raise _error(path, done.stderr, done.returncode)


class Server:
    """A module that keeps a file open in such a child, and answers until this object is dropped.

    The child reads from stdin, and ends where that does.
    """

    def __init__(self, module: str, path: Path, *arguments: str) -> None:
        self.path = path
        self._home = tempfile.TemporaryDirectory()
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed with this object)
        self._child = subprocess.Popen(
            _command(module, path, arguments),
            env=_environment(self._home.name),
            cwd=self._home.name,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
        )
        self._end = weakref.finalize(self, _end, self._child)

    def send(self, content: bytes) -> None:
        """Give the child bytes.

        Raises:
            DataError: it has ended; with its last words.
        """
        try:
            pipe = _pipe(self._child.stdin)
            pipe.write(content)
            pipe.flush()
        except (BrokenPipeError, ValueError):  # it has ended, or has been closed because it had
            raise self._ended() from None

    def receive(self, size: int) -> bytes:
        """So many bytes of the child's answer; raises as `send`."""
        content = _pipe(self._child.stdout).read(size)
        if len(content) < size:
            raise self._ended()
        return content

    def _ended(self) -> DataError:
        self._end()
        self._errors.seek(0)
        return _error(self.path, self._errors.read().decode(errors="replace"), self._child.returncode)


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:
        raise ValueError("the child was started without this pipe")
    return pipe


def _end(child: subprocess.Popen[bytes]) -> None:
    """Let a child end by itself, whose answers nobody waits for; kill it where it does not."""
    with child:
        _pipe(child.stdout).close()
        try:
            _pipe(child.stdin).close()
            child.wait(5)
        except (BrokenPipeError, subprocess.TimeoutExpired):
            child.kill()


def _command(module: str, path: Path, arguments: tuple[str, ...]) -> list[str]:
    return [sys.executable, "-m", module, str(path.absolute()), *arguments]


def _environment(home: str) -> dict[str, str]:
    return {
        "HOME": home,
        "PATH": os.defpath,
        "PYTHONPATH": os.pathsep.join(sys.path),
        "ULTRALYTICS_SAFE_LOAD": "1",
        "YOLO_AUTOINSTALL": "false",
        "YOLO_CONFIG_DIR": home,
        "YOLO_OFFLINE": "true",
    }


def _error(path: Path, stderr: str, code: Any) -> DataError:
    words = stderr.strip().splitlines() or [f"the child ended with {code}"]
    named = str(path.absolute()) in words[-1]
    return DataError(words[-1] if named else f"cannot use {path}: {words[-1]}")
