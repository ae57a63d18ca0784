"""Export the pruned student in FP32.

Reads   models/pruned/<student>/
Writes  candidates/<student>-<runtime>-fp32/, metrics/export/<student>-<runtime>-fp32.json
"""

from __future__ import annotations

from pathlib import Path

from alambique.config import Params
from alambique.evaluation.measures import Metrics
from alambique.layout import Candidate
from alambique.stages.work import produce
from alambique.tasks import Task, require_available


def run(project: Path, student: str, runtime: str) -> None:
    """Make the candidate <student>-<runtime>-fp32.

    Raises:
        ConfigurationError: the runtime's files cannot be made here.
    """
    candidate = Candidate(student, runtime, "fp32")

    def work(task: Task, params: Params, target: Path) -> Metrics:
        require_available(task, [runtime])  # this machine may be another than the one which validated
        return task.export(project, params, candidate, target)

    produce(project, candidate.folder, f"export/{candidate.name}", work)
