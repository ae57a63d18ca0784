from __future__ import annotations

import pytest

from alambique.config.params import Budget
from alambique.stages.search.budget_choice import Combination, Cost, Figures

SHARES = (0.0, 0.3, 0.6)
LATENCIES = {"fp32": 10.0, "int8": 6.0}
SIZES = {"fp32": 4.0, "int8": 1.0}


def of(share: float, precision: str = "fp32", student: str = "pico") -> Combination:
    return Combination(student, share, "onnx", precision)


def figures(maps: dict[Combination, float] | None = None, **limits: float) -> Figures:
    """Two students, one of which costs twice as much; all costs fall with the share."""
    costs = {
        of(share, precision, student): Cost(
            factor * LATENCIES[precision] * (1 - share),
            factor * LATENCIES[precision] * (1 - share) + 1,
            factor * SIZES[precision] * (1 - share),
        )
        for student, factor in (("pico", 1), ("nano", 2))
        for share in SHARES
        for precision in LATENCIES
    }
    return Figures(Budget(**limits), costs, 0.6, dict(maps or {}))  # type: ignore[arg-type]


def test_only_what_is_within_both_latency_and_size_is_affordable() -> None:
    known = figures(latency_p95_ms=7.5, size_mb=1.0)
    assert known.affordable(known.costs) == [of(0.6, "int8", "nano"), *(of(share, "int8") for share in SHARES)]


def test_a_limit_is_within_reach_where_it_is_just_met() -> None:
    known = figures(latency_p95_ms=11.0)
    assert of(0.0) in known.affordable(known.costs)
    assert not known.excesses(of(0.0))


def test_where_accuracy_comes_first_only_the_least_pruned_of_each_artifact_is_tried() -> None:
    known = figures(latency_p95_ms=8.0)
    assert known.open() == [of(0.6, "int8", "nano"), of(0.0, "int8"), of(0.3)]


def test_every_share_is_tried_where_the_fastest_within_a_drop_is_wanted() -> None:
    known = figures(max_drop=0.1)
    assert known.open() == sorted(known.costs)


def test_what_is_pruned_further_than_what_lost_too_much_is_not_tried() -> None:
    known = figures({of(0.3): 0.45}, max_drop=0.1)
    assert of(0.0) in known.open()
    assert of(0.6) not in known.open()
    assert of(0.6, "int8") in known.open()


def test_what_is_slower_than_what_is_good_enough_is_not_tried() -> None:
    known = figures({of(0.3): 0.55}, max_drop=0.1)
    pico = [each for each in known.open() if each.student == "pico"]
    assert pico == [of(0.0, "int8"), of(0.3, "int8"), of(0.6), of(0.6, "int8")]
    assert len(known.open()) == len(pico) + 6  # another student's share is its own question


def test_the_most_accurate_within_the_limits_is_chosen() -> None:
    maps = {of(0.3): 0.55, of(0.0, "int8"): 0.57, of(0.6, "int8", "nano"): 0.56}
    known = figures(maps, latency_p95_ms=8.0)
    assert known.choose(known.costs) == of(0.0, "int8")
    assert known.choose([each for each in known.costs if each.student == "nano"]) == of(0.6, "int8", "nano")
    assert known.open() == []


def test_the_fastest_within_a_drop_is_chosen() -> None:
    maps = {of(0.6): 0.49, of(0.3, "int8"): 0.52, of(0.3): 0.58, of(0.0, student="nano"): 0.6}
    known = figures(maps, max_drop=0.1)
    assert known.choose(known.costs) == of(0.3, "int8")


def test_latency_decides_between_equally_accurate_ones() -> None:
    maps = {of(0.3): 0.55, of(0.0, "int8"): 0.55}
    known = figures(maps, latency_p95_ms=8.0)
    assert known.choose(known.costs) == of(0.0, "int8")


def test_where_all_lose_too_much_the_most_accurate_is_nearest() -> None:
    maps = {of(0.3): 0.45, of(0.0, "int8"): 0.47, of(0.6, "int8", "nano"): 0.4}
    known = figures(maps, latency_p95_ms=8.0, max_drop=0.1)
    chosen = known.choose(known.costs)
    assert chosen == of(0.0, "int8")
    (excess,) = known.excesses(chosen)
    assert (excess.limit, excess.allowed, excess.by, excess.least) == (
        "max_drop",
        0.1,
        pytest.approx(0.03),
        pytest.approx(0.13),
    )


def test_where_none_is_affordable_the_nearest_exceeds_its_worse_limit_least() -> None:
    known = figures(latency_p95_ms=2.0, size_mb=0.1)
    # 3.4 ms are 1.7 times, 0.4 MB four times too much; 5 ms and 1.6 MB 2.5 times and 16 times.
    chosen = known.choose(known.costs)
    assert chosen == of(0.6, "int8")
    assert [(each.limit, each.value, each.by) for each in known.excesses(chosen)] == [
        ("latency_p95_ms", pytest.approx(3.4), pytest.approx(1.4)),
        ("size_mb", pytest.approx(0.4), pytest.approx(0.3)),
    ]
    assert known.open() == []


def test_limits_that_are_only_together_out_of_reach_are_reported_with_what_each_allows() -> None:
    costs = {of(0.0): Cost(4.0, 5.0, 4.0), of(0.0, "int8"): Cost(8.0, 9.0, 1.0)}
    known = Figures(Budget(latency_p95_ms=6.0, size_mb=2.0), costs, 0.6)
    chosen = known.choose(costs)
    assert chosen == of(0.0, "int8")  # half as much again in latency, against twice the size
    assert [(each.limit, each.by, each.least) for each in known.excesses(chosen)] == [("latency_p95_ms", 3.0, 5.0)]


def test_a_student_that_no_training_was_left_for_is_pruned_as_little_as_is_affordable() -> None:
    known = figures({of(0.0, "int8"): 0.5}, latency_p95_ms=9.5)
    assert known.choose([each for each in known.costs if each.student == "nano"]) == of(0.3, "int8", "nano")
