"""Export the pruned student in FP32.

Reads   models/<student>/pruned/
Writes  candidates/<student>-<runtime>-fp32/, metrics/export/<student>-<runtime>-fp32.json
"""

from __future__ import annotations

from pathlib import Path

from alambique.layout import Candidate
from alambique.stages.work import produce


def run(project: Path, student: str, runtime: str) -> None:
    """Make the candidate <student>-<runtime>-fp32."""
    candidate = Candidate(student, runtime, "fp32")
    produce(
        project,
        candidate.folder,
        f"export/{candidate.name}",
        lambda task, params, target: task.export(project, params, candidate, target),
    )
