"""A training's curves: after each interval a line in the log and a row of curves.csv; and whether a teacher counts."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path

from alambique.errors import ConfigurationError
from alambique.process import events

Row = dict[str, float]
"""An interval's mean losses and learning rate by name, and figures on val where it is measured; first `step`, the steps
that the stage has trained by then."""

STEP = "step"
CONSTANT_INTERVALS = 3
CONSTANT_CHANGE = 1e-9


def line(done: int, steps: int, row: Row, on_val: Mapping[str, str], seconds: float) -> str:
    """A row in words.

    Args:
        done, steps: of the training.
        on_val: what is measured on val, by its name in the row: what people call it.
        seconds: that a step takes, the measurement on val included.
    """
    numbers = [
        f"{on_val[name]} on val {value:.4g}" if name in on_val else f"{name} {value:.4g}"
        for name, value in row.items()
        if name != STEP
    ]
    left = timedelta(seconds=round(seconds * (steps - done)))
    return f"step {done}/{steps}: {', '.join(numbers)}; {seconds:.2f} s a step, {left} left"


def emit(row: Row) -> None:
    """Add a row to the event file."""
    events.emit(int(row[STEP]), **{name: value for name, value in row.items() if name != STEP})


def require_teacher(curves: Sequence[Row], divergences: Iterable[str]) -> None:
    """Refuse a training whose teacher does nothing; one without a teacher passes.

    Args:
        divergences: the losses that measure how far the student is from its teacher.
    Raises:
        ConfigurationError: the divergence from the teacher is zero, or stays what it is.
    """
    for name in divergences:
        last = [row[name] for row in curves if name in row][-CONSTANT_INTERVALS:]
        if last and last[-1] == 0:
            raise ConfigurationError(
                f"nothing before step {curves[-1][STEP]:.0f} had a teacher: {name} is 0; "
                "check the teacher's metrics, and whether soft_labels and distill keep what it says"
            )
        if len(last) == CONSTANT_INTERVALS and max(last) - min(last) <= CONSTANT_CHANGE * max(map(abs, last)):
            raise ConfigurationError(
                f"{name} was {last[-1]:.6g} the last {CONSTANT_INTERVALS} times, up to step {curves[-1][STEP]:.0f}: "
                "what the teacher says does not reach the student; check that training.learning_rate lets it learn at "
                "all, and that nothing froze its layers"
            )


def read(path: Path) -> list[Row]:
    """What `write` wrote, to the last bit."""
    with path.open(newline="") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def write(path: Path, curves: Sequence[Row]) -> None:
    """Write the rows as CSV."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(curves[0]))
        writer.writeheader()
        writer.writerows({**row, STEP: int(row[STEP])} for row in curves)
