"""How accurate a combination is: its student recovers shortly from pruning, and its artifact is measured on val."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch

from alambique import runtimes
from alambique.process.events import EVENTS_FILE, emit
from alambique.process.resume_dir import RESUME_FOLDER
from alambique.runtimes.base import Validation
from alambique.stages.iterative_pruning import recover
from alambique.stages.search.artifact_factory import ArtifactFactory
from alambique.stages.search.budget_choice import Combination, Figures
from alambique.tasks.trainer_state import NO_PRIOR

logger = logging.getLogger(__name__)


class AccuracyMeasurement:
    """Measures a combination's headline metric; a student of one ratio is trained once for all its artifacts.

    Args:
        factory: makes the artifacts.
        validations: of each student.
        figures: what is known of the others.
    """

    def __init__(self, factory: ArtifactFactory, validations: Mapping[str, Validation], figures: Figures) -> None:
        self.factory, self.validations, self.figures = factory, validations, figures

    def __call__(self, combination: Combination) -> float:
        """The artifact's headline metric on val."""
        factory = self.factory
        weights = self._recovered(combination.student, combination.share)
        folder = factory.scratch / "trials" / combination.label
        path = factory.make(factory.task.exportable(weights), combination, folder)
        program = runtimes.load(combination.runtime).open(path, torch.get_num_threads())
        validation = self.validations[combination.student]
        accuracy = validation.headline(validation.finish(program, combination.runtime))
        drop = self.figures.reference - accuracy
        number, headline = len(self.figures.accuracies), factory.params.HEADLINE
        emit(number, **{headline: accuracy}, drop=drop)
        logger.info(
            "trial %d: %s: %s %.4f on val, %.4f below the best unpruned",
            *(number + 1, combination.label, headline, accuracy, drop),
        )
        return accuracy

    def _recovered(self, student: str, ratio: float) -> Path:
        """Folder of the student's checkpoint after a short recovery; an unpruned student needs none."""
        factory, params = self.factory, self.factory.params
        if not ratio:
            return factory.distilled(student)
        folder = factory.scratch / "recovered" / student / str(ratio)
        if not folder.exists():
            folder.mkdir(parents=True)
            logger.info("training %s with %.0f %% pruned, epochs: %d", student, 100 * ratio, params.budget.epochs)
            with _without_curve_and_state():
                network = factory.pruned(student, ratio)
                project, task, dataset = factory.project, factory.task, factory.dataset
                recover(network, project, task, params, dataset, folder, params.budget.epochs, NO_PRIOR)
            factory.write_card(folder, student)
        return folder


@contextmanager
def _without_curve_and_state() -> Iterator[None]:
    """Several trainings in one stage have neither one curve nor one state to go on from."""
    kept = {name: os.environ.pop(name) for name in (EVENTS_FILE, RESUME_FOLDER) if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(kept)
