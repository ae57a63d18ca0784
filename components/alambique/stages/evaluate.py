"""Measure a teacher, checkpoint, candidate or champion on the test split, a candidate on its own runtime.

Reads   data/, and the folder of what is evaluated
Writes  evaluations/<name>/, metrics/evaluate/<name>.json
"""

from __future__ import annotations

from pathlib import Path

import torch

from alambique.config import Params
from alambique.evaluation.measures import Metrics
from alambique.layout import CARD, DATA, EvaluationTarget, checkpoint, evaluation
from alambique.stages.work import open_program, produce
from alambique.tasks import Task
from alambique.tasks.cards import identity, read_card, require_made_of

SPLIT = "test"


def run(project: Path, subject: str) -> None:
    """Evaluate `subject` on today's test split. A champion that does not exist is reported as absent.

    Raises:
        IntegrityError: a file is not what its card says, or a candidate was made from another checkpoint than today's.
        DataError: there are no test samples, or the network shares no class with the dataset.
    """
    produce(
        project,
        evaluation(subject),
        f"evaluate/{subject}",
        lambda task, params, target: evaluate(project, task, params, subject, target),
    )


def evaluate(project: Path, task: Task, params: Params, subject: str, target: Path) -> Metrics:
    """Write the per-sample results of `subject` into `target`, and return its metrics; see `run`."""
    parsed, dataset = EvaluationTarget.parse(subject), task.dataset(project / DATA)
    folder = project / parsed.folder
    if parsed.kind == "champion" and not (folder / CARD).exists():
        return {"subject": subject, "present": False}
    threads, card = torch.get_num_threads(), read_card(folder)
    program = open_program(task, folder, threads)
    measurement = task.measure(folder, program, dataset, SPLIT, params)
    measurement.write(target)
    metrics: Metrics = {
        "subject": subject,
        "present": True,
        "split": SPLIT,
        "data": dataset.digest(SPLIT),
        **measurement.metrics,
        **identity(card),
    }
    if parsed.kind == "candidate":
        source = project / checkpoint(str(parsed.student), "pruned")
        require_made_of(folder, source)
        metrics["parity"] = task.parity(folder, program, task.program(source, threads), dataset, params)
    return metrics
