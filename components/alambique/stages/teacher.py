"""Train or take a teacher.

Reads   data/, inputs/teachers/
Writes  models/teacher/<name>/{weights.pt, card.json, curves.csv}, metrics/teacher/<name>.json
"""

from __future__ import annotations

from pathlib import Path

from alambique.layout import teacher
from alambique.stages.work import produce


def run(project: Path, name: str) -> None:
    """Fine-tune a teacher on the dataset, or verify the one that was fetched."""
    produce(
        project,
        teacher(name),
        f"teacher/{name}",
        lambda task, params, target: task.teacher(project, params, name, target),
    )
