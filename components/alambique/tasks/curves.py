"""A training's curves: a line in the log and a row of curves.csv an epoch; and a check that distillation has effect."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from datetime import timedelta
from pathlib import Path

from alambique.errors import ConfigurationError

Row = dict[str, float]
"""An epoch's mean losses and its learning rate by name, and the headline metric where val is measured."""

CONSTANT_EPOCHS = 3
CONSTANT_CHANGE = 1e-9


def line(epochs: int, curves: Sequence[Row], seconds: float) -> str:
    """The last epoch of `curves` in words, where one takes so many seconds and the training has so many epochs."""
    done = len(curves)
    numbers = [f"{name} {value:.4g}" for name, value in curves[-1].items()]
    left = timedelta(seconds=round(seconds * (epochs - done)))
    return f"epoch {done}/{epochs}: {', '.join(numbers)}; {seconds:.1f} s, {left} left"


def require_teacher(curves: Sequence[Row], divergences: Iterable[str]) -> None:
    """Refuse a training whose teacher does nothing; one without a teacher passes.

    Args:
        divergences: the losses that measure how far the student is from its teacher.
    Raises:
        ConfigurationError: the divergence from the teacher is zero, or does not change from epoch to epoch.
    """
    for name in divergences:
        divergence = [row[name] for row in curves if name in row]
        epochs, last = len(divergence), divergence[-CONSTANT_EPOCHS:]
        if last and last[-1] == 0:
            raise ConfigurationError(
                f"nothing in epoch {epochs} had a teacher: {name} is 0; "
                "check the teacher's metrics, and whether soft_labels and distill keep what it says"
            )
        if len(last) == CONSTANT_EPOCHS and max(last) - min(last) <= CONSTANT_CHANGE * max(map(abs, last)):
            raise ConfigurationError(
                f"{name} has been {last[-1]:.6g} for {CONSTANT_EPOCHS} epochs, up to epoch {epochs}: what the "
                "teacher says does not reach the student; check that training.learning_rate lets it learn at all, and "
                "that nothing froze its layers"
            )


def read(path: Path) -> list[Row]:
    """What `write` wrote, to the last bit."""
    with path.open(newline="") as file:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    return [{name: value for name, value in row.items() if name != "epoch"} for row in rows]


def write(path: Path, curves: Sequence[Row]) -> None:
    """Write the epochs, counted from 1, as CSV."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["epoch", *curves[0]])
        writer.writeheader()
        writer.writerows({"epoch": epoch, **row} for epoch, row in enumerate(curves, start=1))
