from __future__ import annotations

from factories.search_results import choice, entry

from alambique.report.search import limits, verdict

LABEL = "mAP50-95"


def test_what_is_out_of_reach_is_told_with_its_distance_and_the_least_there_is() -> None:
    assert verdict(choice(), LABEL) == [
        "Nothing measured meets the budget. Nearest is pico-onnx-int8 with 60 % pruned: 3.50 ms (p95), 0.620 MB, "
        "mAP50-95 51.3 on val, −1.7 against the best unpruned (1 trial, 1 training).",
        "size_mb 0.5 is out of reach by 0.12 MB: the nearest has 0.62; the smallest of all is 0.58.",
    ]


def test_the_least_is_not_told_twice() -> None:
    exceeded = [{"limit": "max_drop", "allowed": 0.01, "value": 0.03, "by": 0.02, "least": 0.03}]
    assert verdict(choice(exceeded=exceeded), LABEL)[1] == (
        "max_drop 0.01 is out of reach by 0.02 of mAP50-95: the nearest has 0.03."
    )


def test_what_was_not_trained_has_no_accuracy() -> None:
    untrained = entry(0.6, accuracy=None, drop=None)
    told = verdict(choice(chosen=untrained, trials=[], trainings=0), LABEL)
    assert "0.620 MB, not trained (0 trials, 0 trainings)." in told[0]


def test_a_budget_that_is_met_is_one_sentence() -> None:
    met = choice(meets_budget=True, exceeded=[], chosen=entry(0.3, exceeds=[]))
    (line,) = verdict(met, LABEL)
    assert line.startswith("pico-onnx-int8 with 30 % pruned meets the budget: 3.50 ms (p95)")


def test_combinations_that_no_training_was_left_for_are_counted() -> None:
    assert verdict(choice(untried=2), LABEL)[-1] == "2 more combinations could be tried with more than 12 trainings."


def test_only_the_limits_that_are_set_are_named() -> None:
    assert limits(choice()["budget"]) == "size_mb at most 0.5, max_drop at most 0.02"
