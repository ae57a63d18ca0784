"""The folder in which a stage keeps its training's state, so that a retry resumes it; see `tasks.trainer_state`."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

RESUME_FOLDER = "ALAMBIQUE_RESUME"
"""Environment variable naming the folder: what a stage leaves there is back when the same stage runs again."""

STATE = "state.pt"


def state_file() -> Path | None:
    """The file that a training's state belongs into; None when nobody would give it back."""
    folder = os.environ.get(RESUME_FOLDER)
    return Path(folder) / STATE if folder else None


@contextmanager
def kept_on_laptop(project: Path, address: str) -> Iterator[None]:
    """The folder for plain `dvc repro`: inside the project's .alambique/, until the stage succeeds.

    Does nothing when a runner above has named one.
    """
    if RESUME_FOLDER in os.environ:
        yield
        return
    folder = project.absolute() / ".alambique" / "resume" / address
    os.environ[RESUME_FOLDER] = str(folder)
    try:
        yield
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        del os.environ[RESUME_FOLDER]
