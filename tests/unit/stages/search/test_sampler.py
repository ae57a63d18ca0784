from __future__ import annotations

import pytest

from alambique.config.params import Budget
from alambique.stages.search.budget_choice import Combination, Cost, Figures
from alambique.stages.search.sampler import explore

SHARES = tuple(index / 10 for index in range(9))


def world(**limits: float) -> Figures:
    """Two students for two runtimes in two precisions; costs fall with the share."""
    costs = {}
    for student, factor in (("pico", 10.0), ("nano", 30.0)):
        for share in SHARES:
            for runtime, handicap in (("onnx", 1.1), ("openvino", 1.0)):
                for precision, gain in (("fp32", 1.0), ("int8", 0.5)):
                    median = factor * handicap * gain * (1 - share)
                    cost = Cost(median, median * 1.2, factor / 5 * gain * (1 - share))
                    costs[Combination(student, share, runtime, precision)] = cost
    return Figures(Budget(**limits), costs, 0.6)  # type: ignore[arg-type]


def accuracy(combination: Combination) -> float:
    """Falls with the share; 0.6 is nano's, unpruned."""
    best = {"pico": 0.55, "nano": 0.6}[combination.student]
    return best - 0.3 * combination.share**2 - (0.01 if combination.precision == "int8" else 0)


def best(known: Figures) -> Combination:
    """By looking at every combination."""
    everything = Figures(known.budget, known.costs, known.reference, {each: accuracy(each) for each in known.costs})
    return everything.choose(everything.costs)


@pytest.mark.parametrize(
    "limits",
    [
        {"latency_p95_ms": 8.0},
        {"latency_p95_ms": 4.0, "size_mb": 0.5},
        {"latency_p95_ms": 20.0, "max_drop": 0.05},
        {"max_drop": 0.03},
        {"max_drop": 0.1},
        {"latency_p95_ms": 3.0, "max_drop": 0.01},
    ],
)
def test_the_best_of_all_is_found_by_few_trainings(limits: dict[str, float]) -> None:
    known = world(**limits)
    trials = explore(known, accuracy, 12, seed=0)
    assert known.choose(known.costs) == best(known)
    assert sum(trial.trained for trial in trials) <= 12
    assert len(trials) < len(known.costs) / 2
    assert [trial.combination for trial in trials] == list(known.accuracies)


def test_equal_seeds_and_figures_give_equal_trials() -> None:
    first, second = (explore(world(max_drop=0.1), accuracy, 12, seed=3) for _ in range(2))
    assert first == second
    assert first != explore(world(max_drop=0.1), accuracy, 12, seed=4)


def test_a_training_serves_every_artifact_of_its_student_and_share() -> None:
    trials = explore(world(max_drop=0.1), accuracy, 12, seed=0)
    trained = [trial.combination[:2] for trial in trials if trial.trained]
    assert len(set(trained)) == len(trained)
    assert {trial.combination[:2] for trial in trials if trial.combination.share} == set(trained)


def test_no_more_is_trained_than_is_allowed_but_what_needs_no_training_is_measured() -> None:
    known = world(max_drop=0.1)
    trials = explore(known, accuracy, 1, seed=0)
    assert sum(trial.trained for trial in trials) == 1
    assert known.open()
    assert not [each for each in known.open() if each.share == 0]


def test_nothing_is_tried_where_nothing_is_affordable() -> None:
    assert explore(world(size_mb=0.01), accuracy, 12, seed=0) == []
