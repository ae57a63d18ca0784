"""Compare the champion's headline metric on labelled production images with that on its test split."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import NamedTuple

from alambique.config import Params
from alambique.drift.production_batch import Fetched, lay_out_labelled
from alambique.drift.reference import Champion
from alambique.errors import PermanentError
from alambique.evaluation import paired_bootstrap
from alambique.evaluation.measures import Interval
from alambique.layout import DATA, evaluation
from alambique.pipeline import transfer
from alambique.stages.evaluate import evaluate
from alambique.tasks import Task

log = logging.getLogger(__name__)

MIN_LABELLED = 30
"""Labelled images needed."""


class Performance(NamedTuple):
    """The headline metric in production and on the test split.

    Attributes:
        production, test: each with its 95 % interval.
        images: labelled ones of the batch.
    """

    production: Interval
    test: Interval
    images: int

    @property
    def drifted(self) -> bool:
        """Whether production's interval lies wholly below that of the test split.

        Without drift that happens in 1 of 300 cases if both are equally wide, in 1 of 40 if the test split is larger.
        """
        return self.production.high < self.test.low


def measure(champion: Champion, fetched: Fetched, scratch: Path, task: Task, params: Params) -> Performance | None:
    """Evaluate the checkpoint on the batch's labelled images; its evaluation on the test split is in its recorded run.

    Args:
        scratch: a folder to work in.
    Returns:
        None if there are too few of them, or if another version wrote the recorded evaluation.
    Raises:
        IntegrityError, TransientError: the DVC remote lacks the evaluation, or is out of reach.
    """
    project, target_name = scratch / "labelled", f"{champion.student}-pruned"
    if sum(staged.label is not None for staged in fetched.staged) < MIN_LABELLED:
        return None
    images = lay_out_labelled(fetched, project / DATA, champion.classes)
    link = project / champion.checkpoint
    link.parent.mkdir(parents=True)
    link.symlink_to(champion.project / champion.checkpoint)
    transfer.pull(champion.project, [str(evaluation(target_name))])
    target = scratch / "evaluation"
    target.mkdir()
    try:
        evaluate(project, task, params, target_name, target)
        return Performance(
            paired_bootstrap.headline(task.resample, target),
            paired_bootstrap.headline(task.resample, champion.project / evaluation(target_name)),
            images,
        )
    except PermanentError as error:  # labels are optional: the other signals are reported all the same
        log.warning("the labelled images cannot be evaluated: %s", error)
        return None
