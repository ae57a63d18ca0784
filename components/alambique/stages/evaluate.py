"""Measure a subject on the test split: the teacher, a checkpoint, a candidate on its own runtime, or a champion.

Reads   data/, and the subject's folder
Writes  evaluations/<subject>/images.arrow, metrics/evaluate/<subject>.json
"""

from __future__ import annotations

from pathlib import Path

from alambique.layout import evaluation
from alambique.stages.work import produce


def run(project: Path, subject: str) -> None:
    """Evaluate `subject` on today's test split."""
    produce(
        project,
        evaluation(subject),
        f"evaluate/{subject}",
        lambda task, params, target: task.evaluate(project, params, subject, target),
    )
