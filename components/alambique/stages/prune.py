"""Remove channels of the distilled student and recover by distillation.

Reads   data/, soft_labels/, models/teacher/, models/distilled/<first seed>/<student>/
Writes  models/pruned/<student>/{weights.pt, card.json, curves.csv}, metrics/prune/<student>.json
"""

from __future__ import annotations

from pathlib import Path

from alambique.layout import checkpoint
from alambique.stages.work import produce


def run(project: Path, student: str) -> None:
    """Prune `student` to its share of multiply-accumulates, physically."""
    produce(
        project,
        checkpoint(student, "pruned"),
        f"prune/{student}",
        lambda task, params, target: task.prune(project, params, student, target),
    )
