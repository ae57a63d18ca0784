from __future__ import annotations

import io
import math
from typing import Any

import pytest
from factories.finished_run import absent, leaderboard, row
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from alambique.config.gate_config import AtLeast, AtMost, EachClass, Gate, NotWorseThan, Reference, TeacherBetterThan
from alambique.config.params import Budget
from alambique.evaluation import gates
from alambique.messages import Check, Decisions, Version
from alambique.registry import gate_command as registered
from alambique.report.terminal import print_decisions

NAME = "pico-onnx-int8"
DIGEST = "a" * 64
FLOOR = AtLeast(kind="at_least", metric="map50_95", value=0.5)
BUDGET = AtMost(kind="at_most", metric="latency_p50_ms", value=5.0)
REFERENCES: dict[Reference, str] = {
    "champion": "champion-onnx",
    "teacher": "teacher-main",
    "control": "pico-control-0",
    "checkpoint": "pico-pruned",
    "distilled": "pico-distilled-0",
}


def judged(gate: Gate, candidate: dict[str, Any], *others: dict[str, Any]) -> Check:
    board: Any = leaderboard([candidate, *others])
    (check,) = gates.judge(candidate, board, [gate])  # type: ignore[arg-type]
    assert check.passed == (check.reason in {"passed", "first_model"})
    assert check.passed or check.explanation
    return check


def reasons(gate: Gate, candidate: dict[str, Any], *others: dict[str, Any]) -> str:
    return judged(gate, candidate, *others).reason


def not_worse(
    reference: Reference, metric: str = "map50_95", margin: float = 0.0, limit: float | None = None
) -> NotWorseThan:
    return NotWorseThan(kind="not_worse_than", metric=metric, reference=reference, margin=margin, limit=limit)


def delta(value: float, half: float, n: int = 100) -> dict[str, float]:
    return {"value": value, "low": value - half, "high": value + half, "n": n}


def version(name: str = NAME, sha256: str = DIGEST) -> Version:
    return Version(candidate=name, model=f"tiny-{name.split('-')[1]}", version="1", sha256=sha256)


@pytest.mark.parametrize(("value", "reason"), [(0.5, "passed"), (0.499, "below_floor")])
def test_floor(value: float, reason: str) -> None:
    assert reasons(FLOOR, row(NAME, map50_95=value)) == reason


@pytest.mark.parametrize(("value", "reason"), [(5.0, "passed"), (5.01, "above_ceiling")])
def test_ceiling(value: float, reason: str) -> None:
    assert reasons(BUDGET, row(NAME, latency_p50_ms=value)) == reason


@pytest.mark.parametrize("value", [None, math.nan, math.inf, -math.inf, "0.9", True])
@pytest.mark.parametrize("gate", [FLOOR, AtMost(kind="at_most", metric="map50_95", value=9), not_worse("teacher")])
def test_no_gate_lets_pass_what_is_not_a_finite_number(gate: Gate, value: Any) -> None:
    assert reasons(gate, row(NAME, map50_95=value), row("teacher-main", map50_95=0.1)) == "not_finite"


@pytest.mark.parametrize("kind", [FLOOR, BUDGET, not_worse("teacher")])
def test_gate_rejects_a_candidate_without_the_metric(kind: Gate) -> None:
    gate = kind.model_copy(update={"metric": "recall_at_7"})
    assert reasons(gate, row(NAME), row("teacher-main")) == "missing_metric"


@pytest.mark.parametrize(("reference", "subject"), REFERENCES.items())
def test_reference_is_the_row_of_that_subject(reference: Reference, subject: str) -> None:
    gate = not_worse(reference, margin=0.01)
    better = row(subject, map50_95=0.6)
    assert reasons(gate, row(NAME, map50_95=0.595), better) == "passed"
    assert reasons(gate, row(NAME, map50_95=0.585), better) == f"worse_than_{reference}"


def test_teacher_is_the_most_accurate_of_several() -> None:
    teachers = [row(f"teacher-{name}", map50_95=value) for name, value in (("a", 0.5), ("b", 0.7), ("c", None))]
    assert reasons(not_worse("teacher"), row(NAME, map50_95=0.69), *teachers) == "worse_than_teacher"
    assert reasons(not_worse("teacher"), row(NAME, map50_95=0.71), *teachers) == "passed"


def test_control_is_that_of_the_first_seed_which_is_the_one_deployed() -> None:
    controls = [row(f"pico-control-{seed}", map50_95=value) for seed, value in ((3, 0.5), (1, 0.9))]
    assert reasons(not_worse("control"), row(NAME, map50_95=0.6), *controls) == "passed"


def test_the_distilled_student_is_the_most_accurate_of_the_seed_that_is_deployed() -> None:
    values = (("pico", 3, 0.5), ("pico", 1, 0.9), ("nano", 3, 0.7), ("nano", 1, 0.8))
    students = [row(f"{name}-distilled-{seed}", map50_95=value) for name, seed, value in values]
    check = judged(not_worse("distilled", margin=0.02), row(NAME, map50_95=0.6), *students)
    assert (check.reason, check.bound) == ("worse_than_distilled", pytest.approx(0.68))
    assert check.explanation == "0.1 worse than the distilled student's 0.7, 0.02 allowed"
    assert reasons(not_worse("distilled"), row(NAME, map50_95=0.71), *students) == "passed"


def test_each_limit_of_a_budget_is_a_gate() -> None:
    assert list(gates.of_budget(Budget(trials=3), "map50_95")) == []
    wanted = list(gates.of_budget(Budget(latency_p95_ms=5.5, size_mb=1.5, max_drop=0.02), "map50_95"))
    candidate = row(NAME, map50_95=0.6, latency_p95_ms=6.0, size_mb=2.0)
    board: Any = leaderboard([candidate, row("pico-distilled-0", map50_95=0.65)])
    checks = gates.judge(candidate, board, wanted)  # type: ignore[arg-type]
    assert [(check.gate, check.reason) for check in checks] == [
        ("latency_p95_ms at most 5.5", "above_ceiling"),
        ("size_mb at most 1.5", "above_ceiling"),
        ("map50_95 not worse than distilled", "worse_than_distilled"),
    ]


def test_champion_is_that_of_the_candidates_own_runtime() -> None:
    other = row("champion-openvino", map50_95=0.1)
    assert reasons(not_worse("champion"), row(NAME, map50_95=0.2), other) == "missing_reference"


@pytest.mark.parametrize("metric", ["latency_p50_ms", "size_mb", "ece"])
def test_what_costs_is_worse_when_it_is_higher(metric: str) -> None:
    gate = not_worse("champion", metric, margin=1.0)
    champion = row("champion-onnx", **{metric: 10.0})
    assert reasons(gate, row(NAME, **{metric: 11.0}), champion) == "passed"
    assert reasons(gate, row(NAME, **{metric: 11.1}), champion) == "worse_than_champion"
    assert reasons(gate, row(NAME, **{metric: 1.0}), champion) == "passed"


def test_first_model_passes_the_champion_gate() -> None:
    assert reasons(not_worse("champion"), row(NAME), absent("onnx")) == "first_model"


@pytest.mark.parametrize("reference", ["teacher", "control", "checkpoint", "distilled"])
def test_only_a_champion_may_be_absent(reference: Reference) -> None:
    nobody = row(REFERENCES[reference], present=False, map50_95=None)
    assert reasons(not_worse(reference), row(NAME), nobody) == "missing_reference"
    assert reasons(not_worse(reference), row(NAME)) == "missing_reference"


@pytest.mark.parametrize("value", [None, math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(("reference", "subject"), REFERENCES.items())
def test_reference_that_is_not_a_number_lets_nobody_pass(reference: Reference, subject: str, value: Any) -> None:
    assert reasons(not_worse(reference), row(NAME), row(subject, map50_95=value)) == "missing_reference"


@pytest.mark.parametrize(("mine", "theirs"), [("x", "y"), (None, "y"), ("x", None), (None, None)])
def test_results_on_different_data_are_not_compared(mine: str | None, theirs: str | None) -> None:
    champion = row("champion-onnx", map50_95=0.1, data=theirs)
    assert reasons(not_worse("champion"), row(NAME, data=mine), champion) == "other_evaluation_data"


@given(
    value=st.floats() | st.none(),
    reference=st.floats() | st.none(),
    margin=st.floats(min_value=0, max_value=1),
)
def test_passing_a_comparison_means_being_no_worse(value: float | None, reference: float | None, margin: float) -> None:
    champion = row("champion-onnx", map50_95=reference)
    if reasons(not_worse("champion", margin=margin), row(NAME, map50_95=value), champion) == "passed":
        assert value is not None and reference is not None
        assert math.isfinite(value) and math.isfinite(reference)
        assert value >= reference - margin


CONTROL = row("pico-control-0", map50_95=0.5)


@pytest.mark.parametrize(
    ("value", "half", "reason"),
    [
        (0.50, 0.03, "passed"),
        (0.495, 0.04, "passed"),
        (0.495, 0.05, "uncertain_against_control"),
        (0.48, 0.01, "worse_than_control"),
        (0.48, 0.20, "worse_than_control"),
        (0.60, 0.20, "uncertain_against_control"),
        (0.60, 0.10, "passed"),
    ],
)
def test_the_interval_may_reach_as_far_as_the_limit(value: float, half: float, reason: str) -> None:
    candidate = row(NAME, map50_95=value, deltas={"control": delta(value - 0.5, half)})
    assert reasons(not_worse("control", margin=0.01, limit=0.05), candidate, CONTROL) == reason


def test_without_a_limit_the_interval_is_recorded_but_not_asked() -> None:
    candidate = row(NAME, map50_95=0.5, deltas={"control": delta(0.0, 0.3, n=40)})
    check = judged(not_worse("control"), candidate, CONTROL)
    assert (check.reason, check.value, check.bound, check.low, check.high, check.n) == (
        "passed",
        0.5,
        0.5,
        -0.3,
        0.3,
        40,
    )


def test_doubt_says_how_many_images_would_remove_it() -> None:
    """Half as wide an interval takes four times the images."""
    candidate = row(NAME, map50_95=0.5, deltas={"control": delta(0.0, 0.1, n=200)})
    check = judged(not_worse("control", limit=0.05), candidate, CONTROL)
    assert check.reason == "uncertain_against_control"
    assert "may be 0.1 worse, 0.05 allowed; about 800 test images would tell, 200 are there" in check.explanation


def test_a_difference_as_large_as_the_limit_cannot_be_shown_by_more_images() -> None:
    candidate = row(NAME, map50_95=0.45, deltas={"control": delta(-0.05, 0.1)})
    check = judged(not_worse("control", margin=0.05, limit=0.05), candidate, row("pico-control-0", map50_95=0.5))
    assert "no more samples" in check.explanation


@pytest.mark.parametrize("deltas", [{}, {"control": None}])
def test_a_limit_without_an_interval_lets_nobody_pass(deltas: dict[str, Any]) -> None:
    assert reasons(not_worse("control", limit=0.05), row(NAME, deltas=deltas), CONTROL) == "missing_interval"


@pytest.mark.parametrize(
    ("median", "half", "reason"),
    [(10.5, 0.2, "passed"), (10.5, 1.6, "uncertain_against_champion"), (11.1, 0.1, "worse_than_champion")],
)
def test_latency_is_uncertain_when_it_may_be_longer(median: float, half: float, reason: str) -> None:
    champion = row("champion-onnx", latency_p50_ms=10.0)
    candidate = row(NAME, latency_p50_ms=median, latency_deltas={"champion": delta(median - 10, half, n=50)})
    check = judged(not_worse("champion", "latency_p50_ms", margin=1.0, limit=2.0), candidate, champion)
    assert (check.reason, check.n) == (reason, 50)


@pytest.mark.parametrize(
    ("metric", "parity", "reason"),
    [
        ("parity.agreement", {"agreement": 0.95}, "passed"),
        ("parity.agreement", {"agreement": 0.4}, "below_floor"),
        ("parity.agreement", {"agreement": None}, "not_finite"),
        ("parity.agreement", None, "not_finite"),
        ("parity.harmony", {"agreement": 0.95}, "missing_metric"),
    ],
)
def test_agreement_with_the_checkpoint_can_have_a_floor(
    metric: str, parity: dict[str, float | None] | None, reason: str
) -> None:
    assert reasons(AtLeast(kind="at_least", metric=metric, value=0.9), row(NAME, parity=parity)) == reason


BEST = TeacherBetterThan(kind="teacher_better_than", reference="control")
TEACHERS = [row("teacher-main", map50_95=0.6), row("teacher-other", map50_95=0.3), CONTROL]


def teacher_check(
    low: float, *others: dict[str, Any], high: float = 0.2, candidate: dict[str, Any] | None = None
) -> Check:
    """The verdict on a candidate, where the best teacher's difference from the control has this interval."""
    candidate = candidate or row(NAME)
    board: Any = leaderboard([candidate, *(others or TEACHERS)])
    advantages = {"teacher-main": (0.1, low, high), "teacher-other": (-0.2, -0.3, -0.1)}
    board["teacher_advantage"] = {
        "pico": {
            name: {**dict(zip(("value", "low", "high"), figures, strict=True)), "seeds": 1, "images": 90}
            for name, figures in advantages.items()
        }
    }
    (check,) = gates.judge(candidate, board, [BEST])  # type: ignore[arg-type]
    return check


def test_the_best_teacher_must_be_better_than_the_control_by_its_whole_interval() -> None:
    check = teacher_check(0.001)
    assert check.passed and check.gate == "teacher better than control"
    assert (check.value, check.bound, check.low, check.high, check.n) == (0.6, 0.5, 0.001, 0.2, 90)
    refused = teacher_check(0.0)
    assert (refused.passed, refused.reason, refused.low) == (False, "teacher_not_better", 0.0)
    assert refused.explanation == "teacher-main has 0.6, the control 0.5: there is nothing to distill"


def test_the_teacher_is_compared_with_the_control_of_every_seed_of_the_candidates_student() -> None:
    others = (row("pico-control-1", map50_95=0.4), row("nano-control-0", map50_95=None))
    assert teacher_check(0.001, *TEACHERS, *others).bound == pytest.approx(0.45)


@pytest.mark.parametrize(
    ("others", "reason"),
    [
        ([CONTROL], "missing_reference"),
        ([TEACHERS[0], row("nano-control-0")], "missing_reference"),
        ([row("teacher-main", map50_95=math.nan), CONTROL], "not_finite"),
        ([TEACHERS[0], row("pico-control-0", map50_95=None)], "not_finite"),
        ([TEACHERS[0], CONTROL, row("pico-control-1", map50_95=math.inf)], "not_finite"),
        ([row("teacher-main", data="yesterday"), CONTROL], "other_evaluation_data"),
        ([TEACHERS[0], row("pico-control-0", data=None)], "other_evaluation_data"),
        ([row("teacher-third"), CONTROL], "missing_interval"),
    ],
)
def test_a_teacher_that_cannot_be_compared_lets_nobody_pass(others: list[dict[str, Any]], reason: str) -> None:
    check = teacher_check(0.05, *others)
    assert (check.passed, check.reason) == (False, reason)
    assert check.explanation


def test_a_control_without_the_metric_lets_nobody_pass() -> None:
    control = row("pico-control-0")
    del control["metrics"]["map50_95"]
    assert teacher_check(0.05, TEACHERS[0], control).reason == "missing_metric"


@pytest.mark.parametrize(("low", "high"), [(math.nan, 0.2), (0.1, math.inf)])
def test_an_interval_that_is_not_finite_lets_nobody_pass(low: float, high: float) -> None:
    assert teacher_check(low, high=high).reason == "missing_interval"


def test_a_candidate_that_was_measured_on_other_data_has_no_teacher_to_be_judged_by() -> None:
    assert teacher_check(0.05, candidate=row(NAME, data="yesterday")).reason == "other_evaluation_data"


def each_class(metric: Any = "ap") -> EachClass:
    return EachClass(kind="each_class", metric=metric, value=0.3)


def test_every_class_has_the_floor() -> None:
    assert reasons(each_class(), row(NAME, ap={"red": 0.3, "white": 0.9})) == "passed"
    check = judged(each_class("recall"), row(NAME, recall={"red": 0.29, "white": 0.9}))
    assert (check.reason, check.value, check.bound) == ("class_below_floor", 0.29, 0.3)
    assert "red" in check.explanation and "white" not in check.explanation


@pytest.mark.parametrize(
    ("ap", "reason"), [({"red": 0.9}, "missing_metric"), ({"red": 0.9, "white": None}, "not_finite")]
)
def test_a_class_that_was_not_measured_lets_nobody_pass(ap: dict[str, Any], reason: str) -> None:
    check = judged(each_class(), row(NAME, ap=ap))
    assert check.reason == reason
    assert "ap of white" in check.explanation


def test_a_class_may_have_a_full_stop_in_its_name() -> None:
    candidate: Any = row(NAME, ap={"St. Bernard": 0.9})
    board: Any = {**leaderboard([candidate]), "classes": ["St. Bernard"]}
    assert [check.reason for check in gates.judge(candidate, board, [each_class()])] == ["passed"]


def test_a_measure_of_the_board_that_the_row_lacks_is_missing() -> None:
    candidate: Any = row(NAME)
    del candidate["metrics"]["f1"]
    assert reasons(AtLeast(kind="at_least", metric="f1", value=0.1), candidate) == "missing_metric"


@pytest.mark.parametrize("headline", ["map50_95", "map50"])
def test_only_the_headlines_differences_are_in_deltas(headline: str) -> None:
    candidate: Any = row(NAME, deltas={"teacher": delta(0.0, 0.01)})
    board: Any = {**leaderboard([candidate, row("teacher-main")]), "headline": headline, "samples": "texts"}
    gate = not_worse("teacher", "map50", limit=0.005)
    (check,) = gates.judge(candidate, board, [gate])
    if headline == "map50":
        assert "test texts would tell" in check.explanation
    else:
        assert check.reason == "missing_interval"


def test_a_column_of_one_figure_has_none_inside() -> None:
    gate = AtLeast(kind="at_least", metric="map50.agreement", value=0.1)
    assert reasons(gate, row(NAME, map50=0.9)) == "missing_metric"


@pytest.mark.parametrize(("metric", "n"), [("map50", 100), ("ece", 100), ("latency_p50_ms", 50), ("size_mb", None)])
def test_a_check_says_how_many_samples_it_rests_on(metric: str, n: int | None) -> None:
    assert judged(AtMost(kind="at_most", metric=metric, value=100), row(NAME)).n == n


def test_all_candidates_of_a_leaderboard_are_judged() -> None:
    board: Any = leaderboard([row("teacher-main"), row(NAME), row("nano-onnx-fp32", map50_95=0.1), absent("onnx")])
    passed = {verdict.candidate: verdict.passed for verdict in gates.judge_all(board, [FLOOR])}
    assert passed == {NAME: True, "nano-onnx-fp32": False}


def decide(rows: list[dict[str, Any]], *wanted: Gate, of: Version | None = None) -> tuple[bool, list[str]]:
    decision = registered.decide(of or version(), leaderboard(rows), wanted)  # type: ignore[arg-type]
    return decision.passed, [check.reason for check in decision.checks]


def test_a_version_passes_when_every_check_does() -> None:
    rows = [row(NAME, digest=DIGEST)]
    assert decide(rows, FLOOR, BUDGET) == (True, ["passed"] * 3)
    assert decide([row(NAME, digest=DIGEST, latency_p50_ms=9)], FLOOR, BUDGET)[0] is False


def test_what_was_measured_must_be_what_was_registered() -> None:
    assert decide([row(NAME, digest="b" * 64)], FLOOR) == (False, ["other_artifact", "passed"])


def test_a_candidate_without_a_row_is_refused() -> None:
    assert decide([row("pico-onnx-fp32", digest=DIGEST)], FLOOR) == (False, ["not_evaluated"])


@pytest.mark.parametrize("data", ["yesterday", None])
def test_a_candidate_measured_on_other_data_is_refused_even_without_a_comparison(data: str | None) -> None:
    assert decide([row(NAME, digest=DIGEST, data=data)]) == (False, ["other_evaluation_data"])


def choose(objective: str, champions: dict[str, str], *rows: dict[str, Any]) -> list[str]:
    board: Any = leaderboard(list(rows))
    decisions = [registered.decide(version(row["subject"], row["digest"]), board, [FLOOR]) for row in rows]
    return [challenger.candidate for challenger in registered.challengers(decisions, board, objective, champions)]


ACCURATE = row("pico-onnx-fp32", digest="1" * 64, map50_95=0.7, latency_p50_ms=9.0, size_mb=4.0)
FAST = row("pico-onnx-int8", digest="2" * 64, map50_95=0.6, latency_p50_ms=2.0, size_mb=3.0)
SMALL = row("nano-onnx-int8", digest="3" * 64, map50_95=0.55, latency_p50_ms=3.0, size_mb=1.0)
REFUSED = row("nano-onnx-fp32", digest="4" * 64, map50_95=0.1, latency_p50_ms=1.0, size_mb=0.1)


@pytest.mark.parametrize(("objective", "best"), [("accuracy", ACCURATE), ("latency", FAST), ("size", SMALL)])
def test_objective_picks_among_those_that_pass(objective: str, best: dict[str, Any]) -> None:
    for rows in ([ACCURATE, FAST, SMALL, REFUSED], [REFUSED, SMALL, FAST, ACCURATE]):
        assert choose(objective, {}, *rows) == [best["subject"]]


def test_ties_are_broken_the_same_way_every_time() -> None:
    twin = {**FAST, "subject": "nano-onnx-fp32", "digest": "5" * 64}
    assert choose("accuracy", {}, FAST, twin) == choose("accuracy", {}, twin, FAST) == ["nano-onnx-fp32"]


def test_each_registered_model_has_its_own_challenger() -> None:
    other = {**FAST, "subject": "pico-openvino-int8", "digest": "6" * 64}
    assert choose("accuracy", {}, ACCURATE, FAST, other) == ["pico-onnx-fp32", "pico-openvino-int8"]


def test_nobody_challenges_a_champion_that_is_still_the_best() -> None:
    assert choose("accuracy", {"tiny-onnx": ACCURATE["digest"]}, ACCURATE, FAST) == []
    assert choose("accuracy", {"tiny-onnx": FAST["digest"]}, ACCURATE, FAST) == ["pico-onnx-fp32"]


def test_champions_are_those_present_on_the_leaderboard() -> None:
    rows = [row("champion-onnx", digest="c" * 64), absent("openvino")]
    versions = [version(), version("pico-openvino-int8")]
    assert registered.champion_digests(versions, leaderboard(rows)) == {"tiny-onnx": "c" * 64}  # type: ignore[arg-type]


def test_table_shows_reasons_and_challengers() -> None:
    rows: Any = leaderboard([row(NAME, digest=DIGEST, map50_95=0.4321)])
    decision = registered.decide(version(), rows, [FLOOR])
    text = io.StringIO()
    print_decisions(
        Decisions(run_id="r1", decisions=[decision], challengers=[version()]), Console(file=text, width=120)
    )
    for words in (
        "r1",
        f"{NAME} → tiny-onnx 1",
        "challenger",
        "map50_95 at least 0.5",
        "0.4321",
        "100",
        "below_floor",
        f"{NAME} is rejected: map50_95 at least 0.5: 0.4321 is less than 0.5",
    ):
        assert words in text.getvalue()
