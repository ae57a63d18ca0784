from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from alambique.config import params
from alambique.errors import DataError, IntegrityError
from alambique.evaluation import build as building
from alambique.evaluation.leaderboard import Leaderboard, Row, columns, estimate, load
from alambique.evaluation.measures import Interval, Measure
from alambique.files import write_json
from alambique.layout import evaluation_targets
from alambique.tasks.yolo.task import TASKS

MAPS = {"teacher": 0.66, "control": 0.55, "distilled": 0.58, "pruned": 0.57, "fp32": 0.565, "int8": 0.555}
TEACHERS, SEEDS = ["main", "other"], [7, 0]
PARITY = {"samples": 8, "max_score_difference": 0.02, "max_output_difference": math.nan, "agreement": 0.98}
GAIN = Interval(0.03, 0.01, 0.05, seeds=2, images=8)
ADVANTAGE = Interval(0.11, 0.09, 0.13, seeds=2, images=8)


def evaluations() -> dict[str, dict[str, Any]]:
    result: dict[str, dict[str, Any]] = {}
    for subject in evaluation_targets(TEACHERS, ["pico"], SEEDS, ["onnx"], ["onnx"]):
        if subject.kind == "champion":
            result[subject.name] = {"subject": subject.name, "present": False}
            continue
        result[subject.name] = {
            "subject": subject.name,
            "present": True,
            "data": "today",
            "images": 8,
            "map50_95": MAPS[subject.precision or subject.kind],
            "map50": 0.8,
            "ap": {"red": 0.5, "white": None},
            "f1": 0.7,
            "recall": {"red": 0.9, "white": None},
            "ece": 0.04,
            "confidence": 0.8,
            "parameters": None if subject.runtime else 680_000,
            "macs": None if subject.runtime else 210_000_000,
            "size_bytes": 1_500_000,
            **(
                {"digest": f"d-{subject.name}", "parity": PARITY}
                if subject.runtime
                else {"sha256": f"s-{subject.name}"}
            ),
        }
    return result


def build(
    measured: dict[str, dict[str, Any]],
    objective: str = "accuracy",
    gain: Interval | None = GAIN,
    parts: dict[str, Interval | None] | None = None,
    champion_times: list[float] | None = None,
    agreements: dict[tuple[str, str], float | None] | None = None,
    measures: Mapping[str, Measure] = TASKS["detect"].measures,
) -> Leaderboard:
    figures = {name: metrics.get("map50_95") for name, metrics in measured.items()}
    known = {name: value for name, value in figures.items() if isinstance(value, float) and math.isfinite(value)}
    return building.leaderboard(
        params.Params.model_construct(
            project="cells",
            task="detect",
            teachers=TEACHERS,
            students=["pico"],
            seeds=SEEDS,
            runtimes=["onnx"],
            int8=["onnx"],
            input_size=64,
            promotion=params.Promotion.model_construct(objective=objective),
        ),
        headline="map50_95",
        samples="images",
        measures=measures,
        by_class=TASKS["detect"].by_class,
        data="today",
        classes=["red", "white"],
        evaluations=measured,
        gains={"pico": gain},
        parts={"pico": parts or {}},
        advantages={"pico": {"teacher-main": ADVANTAGE, "teacher-other": None}},
        intervals={(one, other): _interval(known[one] - known[other]) for one, other in permutations(known, 2)},
        benchmark={
            "cpu": "Abacus",
            "device": "cpu",
            "threads": 1,
            "runs": 9,
            "latencies": {
                **({"champion-onnx": {"times_ms": champion_times}} if champion_times else {}),
                "pico-onnx-fp32": {"times_ms": [4.0, 4.2, 3.9], "p50_ms": 4.0, "p95_ms": 5.0},
                "pico-onnx-int8": {
                    **{"p50_ms": 2.0, "p95_ms": 3.0, "p99_ms": 3.5, "times_ms": [2.0, 2.1, 1.9]},
                    **{"cold_start_ms": 80.0, "peak_memory_mb": 40.0},
                },
            },
        },
        agreements=agreements or {},
    )


def _interval(value: float) -> Interval:
    return Interval(value, value - 0.02, value + 0.02, seeds=1, images=8)


def rows(board: Leaderboard) -> dict[str, Row]:
    return {row["subject"]: row for row in board["rows"]}


def test_what_is_found_in_the_field_stands_beside_the_best_teacher() -> None:
    measured = evaluations()
    found = {"images": 9, "threshold": 0.25, "boxes": 2.5, "confidence": math.nan, "empty": 0.1}
    measured["teacher-main"]["map50_95"] = 0.7
    measured["pico-pruned"]["field"] = found
    agreements = {("pico-pruned", "teacher-main"): 0.8, ("pico-pruned", "teacher-other"): 0.2}
    found_rows = rows(build(measured, agreements=agreements))
    assert found_rows["pico-pruned"]["field"] == {**found, "confidence": None, "agreement": 0.8}
    assert found_rows["pico-control-0"]["field"] is None


def test_the_parts_of_the_gain_are_known_all_or_none() -> None:
    start = Interval(0.02, 0.0, 0.04, seeds=2, images=8)
    assert build(evaluations())["gain_parts"] == {"pico": []}
    assert build(evaluations(), parts={"start": start, "soft labels": GAIN})["gain_parts"] == {
        "pico": [{"of": "start", **start._asdict()}, {"of": "soft labels", **GAIN._asdict()}]
    }
    assert build(evaluations(), parts={"start": start, "soft labels": None})["gain_parts"] == {"pico": []}


def test_every_subject_has_a_row_with_every_key() -> None:
    board = build(evaluations())
    assert list(rows(board)) == [
        "teacher-main",
        "teacher-other",
        "pico-control-7",
        "pico-control-0",
        "pico-distilled-7",
        "pico-distilled-0",
        "pico-pruned",
        "pico-onnx-fp32",
        "pico-onnx-int8",
        "champion-onnx",
    ]
    assert all(set(row) == Row.__required_keys__ for row in board["rows"])
    assert set(board) == Leaderboard.__required_keys__


def test_a_candidates_row_joins_evaluation_benchmark_and_checkpoint() -> None:
    row = rows(build(evaluations()))["pico-onnx-int8"]
    assert (row["kind"], row["student"], row["runtime"], row["precision"]) == ("candidate", "pico", "onnx", "int8")
    assert (row["latency_p50_ms"], row["latency_p95_ms"], row["size_mb"]) == (2.0, 3.0, 1.5)
    assert (row["latency_p99_ms"], row["cold_start_ms"], row["peak_memory_mb"]) == (3.5, 80.0, 40.0)
    assert row["metrics"] == {"map50_95": 0.555, "map50": 0.8, "f1": 0.7, "ece": 0.04, "confidence": 0.8}
    assert row["by_class"] == {"ap": {"red": 0.5, "white": None}, "recall": {"red": 0.9, "white": None}}
    assert row["parity"] == {**PARITY, "max_output_difference": None}
    assert (row["data"], row["digest"]) == ("today", "d-pico-onnx-int8")
    assert (row["parameters"], row["macs"]) == (680_000, 210_000_000)  # of its checkpoint: its own card has none


def test_deltas_are_against_teacher_control_and_own_checkpoint() -> None:
    board = rows(build(evaluations()))
    deltas = board["pico-onnx-int8"]["deltas"]
    assert {name: estimate(delta) for name, delta in deltas.items()} == {
        "teacher": pytest.approx(-0.105),
        "control": pytest.approx(0.005),
        "checkpoint": pytest.approx(-0.015),
        "distilled": pytest.approx(-0.025),
        "champion": None,
    }
    assert deltas["control"] == pytest.approx({"value": 0.005, "low": -0.015, "high": 0.025, "n": 8})
    assert estimate(board["pico-pruned"]["deltas"]["checkpoint"]) == pytest.approx(-0.01)
    assert board["pico-distilled-7"]["deltas"]["checkpoint"] is None
    assert board["teacher-main"]["deltas"]["teacher"] is None


def test_the_most_accurate_teacher_is_the_one_compared_with() -> None:
    measured = evaluations()
    measured["teacher-other"]["map50_95"] = 0.7
    board = build(measured)
    assert board["teacher"] == "teacher-other"
    assert estimate(rows(board)["pico-onnx-int8"]["deltas"]["teacher"]) == pytest.approx(-0.145)
    assert estimate(rows(board)["teacher-main"]["deltas"]["teacher"]) == pytest.approx(-0.04)


def test_a_teacher_without_a_figure_is_not_the_most_accurate() -> None:
    measured = evaluations()
    measured["teacher-main"]["map50_95"] = None
    measured["teacher-other"]["map50_95"] = 0.0
    assert build(measured)["teacher"] == "teacher-other"


def test_a_seeds_student_is_compared_with_that_seeds_control_and_what_is_deployed_with_the_firsts() -> None:
    measured = evaluations()
    measured["pico-control-0"]["map50_95"] = 0.4
    measured["pico-distilled-0"]["map50_95"] = 0.2
    board = rows(build(measured))
    assert [board[name]["seed"] for name in ("pico-distilled-0", "pico-pruned", "teacher-main")] == [0, None, None]
    assert estimate(board["pico-distilled-0"]["deltas"]["control"]) == pytest.approx(-0.2)
    assert estimate(board["pico-distilled-7"]["deltas"]["control"]) == pytest.approx(0.03)
    assert estimate(board["pico-onnx-fp32"]["deltas"]["control"]) == pytest.approx(0.015)
    assert estimate(board["pico-pruned"]["deltas"]["checkpoint"]) == pytest.approx(-0.01)


def test_the_gain_of_distillation_stands_with_its_interval() -> None:
    assert build(evaluations())["distillation_gain"] == {
        "pico": {"value": 0.03, "low": 0.01, "high": 0.05, "seeds": 2, "images": 8}
    }
    assert build(evaluations(), gain=None)["distillation_gain"] == {"pico": None}
    assert build(evaluations())["teacher_advantage"] == {
        "pico": {"teacher-main": ADVANTAGE._asdict(), "teacher-other": None}
    }


def test_an_absent_champion_has_a_row_of_nothing() -> None:
    row = rows(build(evaluations()))["champion-onnx"]
    assert not row["present"]
    assert set(row["metrics"].values()) == {None}
    assert row["size_mb"] is row["digest"] is row["parity"] is row["cold_start_ms"] is None
    assert row["by_class"] == {"ap": {}, "recall": {}}


def test_a_champion_is_the_reference_of_its_runtime_and_says_what_it_was() -> None:
    measured = evaluations()
    candidate = measured["pico-onnx-fp32"]
    measured["champion-onnx"] = {**candidate, "map50_95": 0.5, "candidate": "older-onnx-int8"}
    board = rows(build(measured))
    assert (board["champion-onnx"]["student"], board["champion-onnx"]["precision"]) == ("older", "int8")
    assert estimate(board["pico-onnx-int8"]["deltas"]["champion"]) == pytest.approx(0.055)
    assert board["champion-onnx"]["deltas"]["champion"] is None


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, None, "0.5"])
def test_what_is_not_a_finite_number_is_null_and_ranks_last(value: Any) -> None:
    measured = evaluations()
    measured["pico-onnx-fp32"]["map50_95"] = value
    board = build(measured)
    assert rows(board)["pico-onnx-fp32"]["metrics"]["map50_95"] is None
    assert estimate(rows(board)["pico-onnx-fp32"]["deltas"]["control"]) is None
    assert board["best"] == "pico-onnx-int8"


def test_without_any_accuracy_nothing_is_best() -> None:
    measured = evaluations()
    for name in ("pico-onnx-fp32", "pico-onnx-int8"):
        measured[name]["map50_95"] = None
    assert build(measured)["best"] is None


@pytest.mark.parametrize(
    ("objective", "best"), [("accuracy", "pico-onnx-fp32"), ("latency", "pico-onnx-int8"), ("size", "pico-onnx-fp32")]
)
def test_the_objective_picks_the_best_and_accuracy_breaks_its_ties(objective: str, best: str) -> None:
    assert build(evaluations(), objective)["best"] == best


def test_a_subject_without_an_evaluation_is_an_error() -> None:
    measured = evaluations()
    del measured["pico-control-0"]
    with pytest.raises(KeyError, match="pico-control-0"):
        build(measured)


def test_latency_is_compared_where_both_were_timed() -> None:
    measured = evaluations()
    measured["champion-onnx"] = {**measured["pico-onnx-fp32"], "candidate": "older-onnx-int8"}
    board = rows(build(measured))
    assert board["pico-onnx-int8"]["latency_deltas"] == dict.fromkeys(board["pico-onnx-int8"]["latency_deltas"])
    assert board["teacher-main"]["latency_deltas"]["champion"] is None
    timed = rows(build(measured, champion_times=[3.0, 3.1, 2.9]))["pico-onnx-int8"]["latency_deltas"]
    assert timed["champion"] == pytest.approx({"value": -1.0, "low": -1.0, "high": -1.0, "n": 3})
    assert timed["control"] is None


def test_each_runtime_has_a_front() -> None:
    assert build(evaluations())["pareto"] == {"onnx": ["pico-onnx-fp32", "pico-onnx-int8"]}
    measured = evaluations()
    measured["pico-onnx-fp32"]["map50_95"] = 0.5
    assert build(measured)["pareto"] == {"onnx": ["pico-onnx-int8"]}


def test_a_leaderboard_that_is_missing_or_of_another_version_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="run `dvc repro compare`"):
        load(tmp_path / "leaderboard.json")
    write_json(tmp_path / "leaderboard.json", {"schema": 2})
    with pytest.raises(IntegrityError, match="has schema 2"):
        load(tmp_path / "leaderboard.json")


def test_the_board_says_what_its_figures_are_and_which_ranks() -> None:
    board = build(evaluations())
    assert (board["task"], board["samples"], board["headline"], board["input_size"]) == (
        *("detect", "images", "map50_95", 64),
    )
    assert board["measures"]["ece"]["lower_is_better"] and not board["measures"]["ece"]["shown"]
    assert board["by_class"]["ap"]["label"] == "AP"
    assert columns(board) == ["map50_95", "map50"]
    board["headline"] = "map50"
    assert columns(board) == ["map50", "map50_95"]


def test_tokens_a_second_follow_from_the_latency_of_an_input_of_tokens() -> None:
    measures = {**TASKS["detect"].measures, "tokens_per_second": Measure("tokens/s", "number", shown=True)}
    found = rows(build(evaluations(), measures=measures))
    assert found["pico-onnx-int8"]["metrics"]["tokens_per_second"] == 1 / 0.002
    assert found["pico-pruned"]["metrics"]["tokens_per_second"] is None
    assert "tokens_per_second" not in rows(build(evaluations()))["pico-onnx-int8"]["metrics"]
