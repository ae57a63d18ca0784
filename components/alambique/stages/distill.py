"""Distill a student from the cached soft labels.

Reads   data/, soft_labels/, models/teacher/, inputs/students/
Writes  models/distilled/<seed>/<student>/{weights.pt, card.json, curves.csv}, metrics/distill/<student>-<seed>.json
"""

from __future__ import annotations

from pathlib import Path

from alambique.layout import checkpoint
from alambique.stages.work import produce


def run(project: Path, student: str, seed: str) -> None:
    """Train `student` on labels where there are any, and on the teacher's soft labels everywhere."""
    produce(
        project,
        checkpoint(student, "distilled", int(seed)),
        f"distill/{student}-{seed}",
        lambda task, params, target: task.distill(project, params, student, int(seed), target),
    )
