"""What an artifact takes before its first answer, measured by a process that does nothing else.

    python -m alambique.stages.cold_start TASK FOLDER THREADS RESULT

Cold is the process, not the disk: the artifact's files have just been read. Counted are the engine's own import,
verifying and loading the files, and one image; not the interpreter, nor what every engine here is called through.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np

from alambique import tasks
from alambique.errors import TransientError
from alambique.files import read_json, write_json
from alambique.process.environment import prepare
from alambique.stages.work import open_program
from alambique.tasks.cards import read_card

TIMEOUT = 300
"""Seconds for one start; what takes longer hangs."""

PASSED = ("PATH", "LD_LIBRARY_PATH", "TMPDIR")
"""Of the environment, all that a child gets: an engine needs no credentials."""

STATUS = Path("/proc/self/status")


class Start(NamedTuple):
    """One cold start.

    Attributes:
        milliseconds: from the beginning of loading to the first answer.
        megabytes: 10⁶ bytes that were added to the resident memory at most; None where the platform does not tell.
    """

    milliseconds: float
    megabytes: float | None


def measure(task: str, folder: Path, threads: int) -> Start:
    """Start an artifact in a fresh interpreter; a TransientError if the child ends or waits without an answer."""
    with TemporaryDirectory() as home:
        result = Path(home) / "start.json"
        arguments = [task, folder.absolute(), threads, result]
        environment = {
            **{name: os.environ[name] for name in PASSED if name in os.environ},
            "HOME": home,
            "OMP_NUM_THREADS": str(threads),
            "PYTHONPATH": os.pathsep.join(sys.path),
        }
        try:
            done = subprocess.run(
                [sys.executable, "-m", __name__, *map(str, arguments)],
                check=False,
                env=environment,
                cwd=home,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=TIMEOUT,
            )
        except subprocess.TimeoutExpired:
            raise TransientError(
                f"{folder} gave no answer within {TIMEOUT} s of its start; is the machine busy?"
            ) from None
        if done.returncode:
            words = done.stderr.strip().splitlines() or ["it said nothing; was it killed for want of memory?"]
            raise TransientError(f"{folder} could not be started (the child ended with {done.returncode}): {words[-1]}")
        return Start(**read_json(result))


def summarize(starts: Sequence[Start]) -> dict[str, float | None]:
    """The medians of some starts of one artifact."""
    sizes = [start.megabytes for start in starts if start.megabytes is not None]
    return {
        "cold_start_ms": float(np.median([start.milliseconds for start in starts])),
        "peak_memory_mb": float(np.median(sizes)) if sizes else None,
    }


def start(task: str, folder: Path, threads: int) -> Start:
    """Load an artifact in this process, have one answer, and say what that took."""
    before, begin = _memory("VmRSS"), time.perf_counter()
    implementation = tasks.load(task)
    open_program(implementation, folder, threads)(*implementation.noise(read_card(folder)))
    seconds, peak = time.perf_counter() - begin, _memory("VmHWM")
    return Start(seconds * 1000, None if before is None or peak is None else (peak - before) / 1e6)


def _memory(entry: str) -> int | None:
    """Bytes, as Linux counts them for this process alone: `getrusage` begins with the peak of the parent."""
    lines = STATUS.read_text().splitlines() if STATUS.exists() else []
    sizes = (int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{entry}:"))
    return next(sizes, None)


if __name__ == "__main__":
    prepare()
    name, path, count, target = sys.argv[1:]
    write_json(Path(target), start(name, Path(path), int(count))._asdict())
