"""Quantize the pruned student to INT8, calibrated on training images, and trained on for it where that is asked for.

Reads   data/, models/pruned/<student>/, and soft_labels/ and models/teacher/ for a training
Writes  candidates/<student>-<runtime>-int8/, metrics/export/<student>-<runtime>-int8.json
"""

from __future__ import annotations

from pathlib import Path

from alambique.layout import Candidate
from alambique.stages.work import produce


def run(project: Path, student: str, runtime: str) -> None:
    """Make the candidate <student>-<runtime>-int8."""
    candidate = Candidate(student, runtime, "int8")
    produce(
        project,
        candidate.folder,
        f"export/{candidate.name}",
        lambda task, params, target: task.quantize(project, params, candidate, target),
    )
