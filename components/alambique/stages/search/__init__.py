"""Find the student, the ratio to prune and the precision that meet the budget of params.yaml.

Reads   data/, soft_labels/, models/teacher/, models/distilled/<first seed>/
Writes  search/choice.json, metrics/search.json

Size and latency come first, of every combination, since they need no training. Then the accuracy of those within both,
one after the other: a short recovery, the artifact, and its headline metric on val. Without a budget there is nothing
to find: each student loses `prune.ratio`.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from alambique import config, runtimes, tasks
from alambique.config import Params
from alambique.evaluation.measures import Metrics
from alambique.files import write_json
from alambique.layout import CHOICE, SEARCH
from alambique.process.events import emit
from alambique.report import search as report
from alambique.runtimes.base import Validation
from alambique.stages.search.artifact_factory import ArtifactFactory
from alambique.stages.search.budget_choice import RULE, Combination, Figures
from alambique.stages.search.sampler import Measurement, explore
from alambique.stages.work import open_program, produce
from alambique.tasks import Task

logger = logging.getLogger(__name__)


def run(project: Path) -> None:
    """Choose what ratio of each student is pruned. A budget out of reach is a warning: the gates refuse.

    Raises:
        ConfigurationError: the task has no search, a runtime's files cannot be made here, or `quantize` asks for too
            few calibration samples.
        DataError: train has too little to calibrate on, or val nothing to measure on.
        IntegrityError: a distilled checkpoint is not what its card says, or the soft labels are damaged.
    """

    def work(task: Task, params: Params, target: Path) -> Metrics:
        if not params.budget.asked:
            write_json(target / CHOICE.name, {"shares": dict.fromkeys(params.students, params.prune.ratio)})
            return {"trainings": 0}
        tasks.require(params.task, "search")
        runtimes.require_available(params.runtimes)
        return search(project, task, params, target)

    produce(project, SEARCH, "search", work)
    choice = report.read(project)
    if "chosen" in choice:
        params = config.load(project)
        headline = tasks.load(params.task).measures[params.HEADLINE]
        say = logger.info if choice["meets_budget"] else logger.warning
        for line in report.verdict(choice, headline.label):
            say("%s", line)


def search(project: Path, task: Task, params: Params, target: Path) -> Metrics:
    """Find what meets `params.budget`, or what comes nearest to it; write choice.json into `target`.

    Returns:
        meets_budget, chosen, its latency_p95_ms, size_mb, headline metric and drop on val, share by student, exceeded
        (by how much, by limit); combinations, trials, trainings.
    """
    threads = torch.get_num_threads()
    with tempfile.TemporaryDirectory() as scratch:
        factory = ArtifactFactory(project, task, params, Path(scratch))
        validations = {
            student: task.validation(factory.distilled(student), factory.dataset, params) for student in params.students
        }
        unpruned = {
            student: validation.headline(open_program(task, factory.distilled(student), threads))
            for student, validation in validations.items()
        }
        costs, conditions = factory.costs()
        figures = Figures(params.budget, costs, max(unpruned.values()))
        logger.info("%d of %d combinations are within latency and size", len(figures.affordable(costs)), len(costs))
        measure = partial(accuracy, factory, validations, figures)
        trials = explore(figures, measure, params.budget.trials, params.seed)
    choice = describe(figures, trials, params)
    write_json(target / CHOICE.name, {**choice, "unpruned": unpruned, "benchmark": conditions})
    chosen = choice["chosen"]
    return {
        **{key: chosen[key] for key in ("latency_p95_ms", "size_mb", "drop")},
        params.HEADLINE: chosen["accuracy"],
        "chosen": chosen["candidate"],
        "meets_budget": choice["meets_budget"],
        "share": choice["shares"],
        "exceeded": {excess["limit"]: excess["by"] for excess in choice["exceeded"]},
        "combinations": len(costs),
        "trials": len(trials),
        "trainings": choice["trainings"],
    }


def accuracy(
    factory: ArtifactFactory, validations: Mapping[str, Validation], figures: Figures, combination: Combination
) -> float:
    """Headline metric on val of a combination's artifact, whose student recovers shortly from pruning."""
    weights = factory.recovered(combination.student, combination.share)
    path = factory.make(factory.task.exportable(weights), combination, factory.scratch / "trials" / combination.label)
    program = runtimes.load(combination.runtime).open(path, torch.get_num_threads())
    validation = validations[combination.student]
    value = validation.headline(validation.finish(program, combination.runtime))
    number, headline, drop = len(figures.accuracies), factory.params.HEADLINE, figures.reference - value
    emit(number, **{headline: value}, drop=drop)
    logger.info(
        "trial %d: %s: %s %.4f on val, %.4f below the best unpruned",
        *(number + 1, combination.label, headline, value, drop),
    )
    return value


def describe(figures: Figures, trials: Sequence[Measurement], params: Params) -> dict[str, Any]:
    """What choice.json says of the search; see `alambique.report.search`."""
    chosen = figures.choose(figures.costs)
    students = {
        student: figures.choose([combination for combination in figures.costs if combination.student == student])
        for student in params.students
    }
    exceeded = figures.excesses(chosen)
    return {
        "budget": params.budget.model_dump(),
        "rule": RULE,
        "reference": figures.reference,
        "shares": {student: best.share for student, best in students.items()},
        "students": {student: entry(figures, best) for student, best in students.items()},
        "chosen": entry(figures, chosen),
        "meets_budget": not exceeded,
        "exceeded": [{**excess._asdict(), "by": excess.by} for excess in exceeded],
        "trials": [{**entry(figures, trial.combination), "trained": trial.trained} for trial in trials],
        "trainings": sum(trial.trained for trial in trials),
        "untried": len(figures.open()),
        "costs": [entry(figures, combination) for combination in sorted(figures.costs)],
    }


def entry(figures: Figures, combination: Combination) -> dict[str, Any]:
    """All that is known of a combination."""
    return {
        "candidate": combination.artifact,
        **combination._asdict(),
        **figures.costs[combination]._asdict(),
        "accuracy": figures.accuracies.get(combination),
        "drop": figures.drop(combination),
        "exceeds": [excess.limit for excess in figures.excesses(combination)],
    }
