"""Distill a student from the cached soft labels.

Reads   data/, soft_labels/, models/teacher/, inputs/students/
Writes  models/distilled/<seed>/<student>/{weights.pt, card.json, curves.csv}, metrics/distill/<student>-<seed>.json
"""

from __future__ import annotations

from pathlib import Path

from alambique.stages.students import train_student


def run(project: Path, student: str, seed: str) -> None:
    """Train `student` on labels where there are any, and on the teachers' soft labels everywhere."""
    train_student(project, student, int(seed), "distilled", f"distill/{student}-{seed}")
