"""A student's training: the same network, start, seed and number of steps for the distilled one and its control.

What the distilled student does better than its control is what the teacher and the unlabelled samples are worth.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from alambique.config import Params
from alambique.data.inputs import given
from alambique.evaluation.measures import Metrics
from alambique.layout import DATA, INPUTS, checkpoint
from alambique.stages import objectives
from alambique.stages.work import costs, produce, teacher_sha256s, write_checkpoint_card
from alambique.tasks import Task
from alambique.tasks.trainer_state import NO_PRIOR


def train_student(project: Path, student: str, seed: int, kind: Literal["distilled", "control"], metrics: str) -> None:
    """Train `student` with `seed` into models/<kind>/<seed>/<student>/.

    Raises:
        IntegrityError: the cache is damaged, or was made from other samples or by other teachers than today's.
    """

    def work(task: Task, params: Params, target: Path) -> Metrics:
        dataset = task.dataset(project / DATA)
        weights, source = given(project / INPUTS / "students", student)
        network = task.build(params.networks[student], dataset, params, seed=seed, weights=weights)
        if kind == "distilled":
            objective = objectives.by_method(task, network, dataset, params, project)
            teachers = teacher_sha256s(project, params)
        else:
            objective, teachers = objectives.by_labels(task, network, dataset, params), []
        metrics = task.train(
            network, objective, dataset, params, target, epochs=params.distill.epochs, seed=seed, prior=NO_PRIOR
        )
        card = write_checkpoint_card(
            task,
            target,
            params,
            kind=kind,
            data=dataset.digest("train"),
            student=student,
            teachers=teachers,
            source=source,
        )
        return {**metrics, **costs(card)}

    produce(project, checkpoint(student, kind, seed), metrics, work)
