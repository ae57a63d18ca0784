"""Remove channels of the distilled student and recover by distillation.

Reads   data/, soft_labels/, models/teacher/, models/distilled/<first seed>/<student>/, search/
Writes  models/pruned/<student>/{weights.pt, card.json, curves.csv}, metrics/prune/<student>.json
"""

from __future__ import annotations

from pathlib import Path

from alambique.config import Params
from alambique.layout import checkpoint
from alambique.report import search
from alambique.stages.work import produce


def run(project: Path, student: str) -> None:
    """Remove from `student` the share that the search chose, physically."""
    shares = search.read(project)["shares"]
    produce(
        project,
        checkpoint(student, "pruned"),
        f"prune/{student}",
        lambda task, params, target: task.prune(project, with_share(params, shares[student]), student, target),
    )


def with_share(params: Params, share: float) -> Params:
    """These parameters with the share that the search chose."""
    return params.model_copy(update={"prune": params.prune.model_copy(update={"ratio": share})})
