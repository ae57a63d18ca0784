"""Whether the champion is worse on labelled production images than it was on its own test split."""

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
from alambique.tasks import Task

log = logging.getLogger(__name__)

ENOUGH = 30
"""Labelled images below which nothing is said."""


class Performance(NamedTuple):
    """The headline metric on either side.

    Attributes:
        production, test: each with its 95 % interval.
        images: labelled ones of the batch.
    """

    production: Interval
    test: Interval
    images: int

    @property
    def drifted(self) -> bool:
        """Whether the intervals are apart, production's below.

        Without a drift so are one in 300 where both are as wide, and one in 40 where the test split is far larger.
        """
        return self.production.high < self.test.low


def measure(champion: Champion, fetched: Fetched, scratch: Path, task: Task, params: Params) -> Performance | None:
    """Evaluate the checkpoint on the batch's labelled images; its own evaluation is on record.

    Args:
        scratch: a folder to work in.
    Returns:
        None if there are too few of them, or if the record is of another version's form.
    Raises:
        IntegrityError, TransientError: the DVC remote lacks the record, or is out of reach.
    """
    project, subject = scratch / "labelled", f"{champion.student}-pruned"
    if sum(each.label is not None for each in fetched.staged) < ENOUGH:
        return None
    images = lay_out_labelled(fetched, project / DATA, champion.classes)
    link = project / champion.checkpoint
    link.parent.mkdir(parents=True)
    link.symlink_to(champion.project / champion.checkpoint)
    transfer.pull(champion.project, [str(evaluation(subject))])
    target = scratch / "evaluation"
    target.mkdir()
    try:
        task.evaluate(project, params, subject, target)
        return Performance(
            paired_bootstrap.headline(task.resample, target),
            paired_bootstrap.headline(task.resample, champion.project / evaluation(subject)),
            images,
        )
    except PermanentError as error:  # feedback is a gift: drift is told without it, too
        log.warning("the labelled images cannot be judged: %s", error)
        return None
