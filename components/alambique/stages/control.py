"""Train the same student without the teacher: what distillation is worth is measured against it.

Reads   data/, inputs/students/
Writes  models/control/<seed>/<student>/{weights.pt, card.json, curves.csv}, metrics/control/<student>-<seed>.json
"""

from __future__ import annotations

from pathlib import Path

from alambique.layout import checkpoint
from alambique.stages.work import produce


def run(project: Path, student: str, seed: str) -> None:
    """Train `student` from the same start and for as many steps as `distill`, on the labelled images alone."""
    produce(
        project,
        checkpoint(student, "control", int(seed)),
        f"control/{student}-{seed}",
        lambda task, params, target: task.control(project, params, student, int(seed), target),
    )
