"""Optuna over what a budget leaves: which combination's accuracy is measured next."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple

import optuna
from optuna.samplers import TPESampler
from optuna.study import Study, StudyDirection
from optuna.trial import Trial, TrialState

from alambique.stages.search.budget_choice import Combination, Figures

STARTUP = 3
"""Trials drawn at random before the sampler has an opinion; upstream's 10 would be most of a search."""
PATIENCE = 20
"""Proposals in a row of what is settled already, after which the first open combination is taken instead."""

Space = Mapping[str, list[Combination]]
"""By artifact its combinations, the least pruned first."""


class Measurement(NamedTuple):
    """A trial.

    Attributes:
        trained: whether it needed a training; another one of the same student and share may have had it.
    """

    combination: Combination
    accuracy: float
    trained: bool


def explore(figures: Figures, measure: Callable[[Combination], float], trainings: int, seed: int) -> list[Measurement]:
    """Measure the accuracy of one combination after the other, until nothing is open or no training is left.

    The objective is the headline metric where accuracy comes first, and median latency otherwise; the constraint is
    that the drop be at most `max_drop`.

    Args:
        figures: what is known; grows by what is measured.
        measure: a combination's headline metric on val.
        trainings: at most; a student and a share need one, whatever the runtime and the precision, an unpruned student
            none.
        seed: of the proposals. Equal seeds and equal figures give equal trials.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    direction = StudyDirection.MAXIMIZE if figures.accuracy_first else StudyDirection.MINIMIZE
    study = optuna.create_study(direction=direction, sampler=TPESampler(seed=seed, n_startup_trials=STARTUP))
    space: dict[str, list[Combination]] = {}
    for combination in figures.worthwhile():
        space.setdefault(combination.artifact, []).append(combination)
    ready = {(combination.student, 0.0) for combination in figures.costs}
    measurements: list[Measurement] = []
    while left := [
        one
        for one in figures.open()
        if one[:2] in ready or sum(measurement.trained for measurement in measurements) < trainings
    ]:
        trial, combination = _propose(study, space, left, figures)
        figures.accuracies[combination] = measure(combination)
        measurements.append(Measurement(combination, figures.accuracies[combination], combination[:2] not in ready))
        ready.add(combination[:2])
        _report(study, trial, combination, figures)
    return measurements


def _propose(study: Study, space: Space, left: Collection[Combination], figures: Figures) -> tuple[Trial, Combination]:
    """The sampler's next combination that is one of those left; it is told what became of its earlier proposals."""
    for _ in range(PATIENCE):
        trial = study.ask()
        if (combination := _suggested(trial, space)) in left:
            return trial, combination
        _report(study, trial, combination, figures)
    first = min(left)
    study.enqueue_trial({"artifact": first.artifact, _share(first.artifact): space[first.artifact].index(first)})
    trial = study.ask()
    return trial, _suggested(trial, space)


def _suggested(trial: Trial, space: Space) -> Combination:
    artifact = trial.suggest_categorical("artifact", list(space))
    combinations = space[artifact]
    return combinations[trial.suggest_int(_share(artifact), 0, len(combinations) - 1)]


def _share(artifact: str) -> str:
    """The parameter's name: an artifact has shares of its own, numbered from the smallest."""
    return f"share of {artifact}"


def _report(study: Study, trial: Trial, combination: Combination, figures: Figures) -> None:
    """What came of a trial; what others settled counts as given up."""
    drop, max_drop = figures.drop(combination), figures.budget.max_drop
    if drop is None:
        study.tell(trial, state=TrialState.PRUNED)
        return
    if max_drop is not None:
        trial.set_constraint("max_drop", drop - max_drop)
    latency = figures.costs[combination].latency_p50_ms
    study.tell(trial, figures.accuracies[combination] if figures.accuracy_first else latency)
