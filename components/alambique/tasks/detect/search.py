"""How a student, its share to prune, a runtime and a precision are found that meet a budget.

Size and latency first, of every combination, since they need no training. Then the accuracy of those within both, one
after the other: a short recovery, the artifact, and its mAP on val.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from alambique.config.detect import Params
from alambique.data.dataset import Dataset
from alambique.evaluation.measures import Metrics
from alambique.files import write_json
from alambique.layout import CHOICE, DATA, WEIGHTS
from alambique.process.events import EVENTS_FILE, emit
from alambique.process.resume_dir import RESUME_FOLDER
from alambique.tasks.detect import upstream
from alambique.tasks.detect.budget import RULE, Combination, Figures
from alambique.tasks.detect.calibration import calibration_images
from alambique.tasks.detect.distill import recover
from alambique.tasks.detect.predict import load
from alambique.tasks.detect.preprocess import preprocess
from alambique.tasks.detect.prototypes import Workshop
from alambique.tasks.detect.study import Measurement, explore
from alambique.tasks.detect.validation import Validation

logger = logging.getLogger(__name__)


def search(project: Path, params: Params, target: Path) -> Metrics:
    """Find what meets `params.budget`, or what comes nearest to it; see `alambique.tasks.Task.search`.

    Returns:
        meets_budget, chosen, its latency_p95_ms, size_mb, map50_95 and drop on val, share by student, exceeded (by how
        much, by limit); combinations, trials, trainings.
    Raises:
        DataError: train has too little to calibrate on, or val nothing to measure on.
        ConfigurationError: `quantize.images` is too few for the dataset's classes.
        IntegrityError: a distilled checkpoint is not what its card says, or the soft labels are damaged.
    """
    dataset = Dataset.load(project / DATA)
    validation = Validation(dataset, dataset.classes, params.input_size, params.evaluate)
    images = calibration_images(dataset, params.quantize.images, params.seed) if params.int8 else []
    inputs = [preprocess(image, params.input_size)[0] for image in images]
    with tempfile.TemporaryDirectory() as scratch, upstream.quiet():
        workshop = Workshop(project, params, dataset, inputs, Path(scratch))
        unpruned = {
            student: validation.score(load(workshop.distilled(student), torch.get_num_threads()))
            for student in params.students
        }
        costs, conditions = workshop.costs()
        figures = Figures(params.budget, costs, max(unpruned.values()))
        logger.info("%d of %d combinations are within latency and size", len(figures.affordable(costs)), len(costs))
        trials = explore(figures, Trainings(workshop, validation, figures), params.budget.trials, params.seed)
    choice = describe(figures, trials, params)
    write_json(target / CHOICE.name, {**choice, "unpruned": unpruned, "benchmark": conditions})
    chosen = choice["chosen"]
    return {
        **{key: chosen[key] for key in ("latency_p95_ms", "size_mb", "drop")},
        "map50_95": chosen["accuracy"],
        "chosen": chosen["candidate"],
        "meets_budget": choice["meets_budget"],
        "share": choice["shares"],
        "exceeded": {each["limit"]: each["by"] for each in choice["exceeded"]},
        "combinations": len(costs),
        "trials": len(trials),
        "trainings": choice["trainings"],
    }


class Trainings:
    """Measures a combination's accuracy, and trains a student of one share once for all its artifacts."""

    def __init__(self, workshop: Workshop, validation: Validation, figures: Figures) -> None:
        self.workshop, self.validation, self.figures = workshop, validation, figures

    def __call__(self, combination: Combination) -> float:
        """The artifact's mAP50-95 on val."""
        weights = self._weights(combination.student, combination.share)
        folder = self.workshop.scratch / "trials" / combination.words
        path = self.workshop.make(weights, combination, folder, self.workshop.inputs)
        found = self.validation.map50_95(path, combination.runtime)
        drop = self.figures.reference - found
        number = len(self.figures.maps)
        emit(number, map50_95=found, drop=drop)
        logger.info(
            "trial %d: %s: mAP50-95 %.4f on val, %.4f below the best unpruned",
            number + 1,
            combination.words,
            found,
            drop,
        )
        return found

    def _weights(self, student: str, share: float) -> Path:
        """The student's checkpoint after a short recovery; nothing is to be recovered where nothing was pruned."""
        if not share:
            return self.workshop.distilled(student) / WEIGHTS
        folder, params = self.workshop.scratch / "trained" / student / str(share), self.workshop.params
        if not folder.exists():
            folder.mkdir(parents=True)
            logger.info("training %s with %.0f %% pruned, epochs: %d", student, 100 * share, params.budget.epochs)
            with _unheard():
                model = self.workshop.pruned(student, share, self.workshop.scorer)
                recover(model, self.workshop.project, params, params.budget.epochs, folder)
        return folder / WEIGHTS


@contextmanager
def _unheard() -> Iterator[None]:
    """Several trainings in one stage have neither one curve nor one state to go on from."""
    kept = {name: os.environ.pop(name) for name in (EVENTS_FILE, RESUME_FOLDER) if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(kept)


def describe(figures: Figures, trials: Sequence[Measurement], params: Params) -> dict[str, Any]:
    """What choice.json says of the search; see `alambique.report.search`."""
    chosen = figures.choose(figures.costs)
    students = {
        student: figures.choose([each for each in figures.costs if each.student == student])
        for student in params.students
    }
    exceeded = figures.excesses(chosen)
    return {
        "budget": params.budget.model_dump(),
        "rule": RULE,
        "reference": figures.reference,
        "shares": {student: each.share for student, each in students.items()},
        "students": {student: entry(figures, each) for student, each in students.items()},
        "chosen": entry(figures, chosen),
        "meets_budget": not exceeded,
        "exceeded": [
            {"limit": each.name, "allowed": each.limit, "value": each.value, "by": each.by, "least": each.least}
            for each in exceeded
        ],
        "trials": [{**entry(figures, each.combination), "trained": each.trained} for each in trials],
        "trainings": sum(each.trained for each in trials),
        "untried": len(figures.open()),
        "costs": [entry(figures, each) for each in sorted(figures.costs)],
    }


def entry(figures: Figures, combination: Combination) -> dict[str, Any]:
    """All that is known of a combination."""
    return {
        "candidate": combination.artifact,
        **combination._asdict(),
        **figures.costs[combination]._asdict(),
        "accuracy": figures.maps.get(combination),
        "drop": figures.drop(combination),
        "exceeds": [each.name for each in figures.excesses(combination)],
    }
