"""Train a student's control: the same network and number of steps, without the teacher.

A student with `weights: teacher` has a control that starts from what the teacher itself was trained from, narrowed
alike: from pretrained weights where it had some, else at random.

Reads   data/, inputs/students/
Writes  models/control/<seed>/<student>/{weights.pt, card.json, curves.csv}, metrics/control/<student>-<seed>.json
"""

from __future__ import annotations

from pathlib import Path

from alambique.stages.distill import train_student


def run(project: Path, student: str, seed: str) -> None:
    """Train `student` on the labelled samples alone, for as many steps as `distill` does."""
    train_student(project, student, int(seed), "control", f"control/{student}-{seed}")
