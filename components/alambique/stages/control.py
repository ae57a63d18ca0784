"""Train a student's control: the same network, start and number of steps, without the teacher.

Reads   data/, inputs/students/
Writes  models/control/<seed>/<student>/{weights.pt, card.json, curves.csv}, metrics/control/<student>-<seed>.json
"""

from __future__ import annotations

from pathlib import Path

from alambique.stages.distill import train_student


def run(project: Path, student: str, seed: str) -> None:
    """Train `student` on the labelled samples alone, for as many steps as `distill` does."""
    train_student(project, student, int(seed), "control", f"control/{student}-{seed}")
