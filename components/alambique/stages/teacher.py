"""Train or take the teacher.

Reads   data/, inputs/teacher/
Writes  models/teacher/{weights.pt, card.json, curves.csv}, metrics/teacher.json
"""

from __future__ import annotations

from pathlib import Path

from alambique.layout import TEACHER
from alambique.stages.work import produce


def run(project: Path) -> None:
    """Fine-tune a teacher on the dataset, or verify the one that was fetched."""
    produce(project, TEACHER, "teacher", lambda task, params, target: task.teacher(project, params, target))
