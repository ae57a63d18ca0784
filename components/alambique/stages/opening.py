"""Open what a folder holds: a candidate on its own runtime, a checkpoint on torch."""

from __future__ import annotations

from pathlib import Path

from alambique import runtimes
from alambique.runtimes.base import Program
from alambique.tasks import Task
from alambique.tasks.cards import read_card


def open_program(task: Task, folder: Path, threads: int) -> Program:
    """A checkpoint or candidate, verified, loaded and ready.

    Raises:
        IntegrityError: a file is not what the card says.
        DataError: the card's runtime is unknown here.
    """
    card = read_card(folder)
    if "runtime" in card:
        return runtimes.open_candidate(folder, card, threads)
    return task.program(folder, threads)
