from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks import common
from benchmarks.common import Row, kept, median, publish, state

from alambique.errors import DataError
from alambique.files import read_json
from alambique.git import git

SHAPE = {"machine", "commit", "date", "versions", "quick", "rows"}


@pytest.mark.parametrize(
    ("goal", "met"),
    [
        ("≤ 5", True),
        ("≤ 4.99", False),
        ("≥ 5", True),
        ("< 5", False),
        ("> 4", True),
        ("≥ 5, low > 0", True),
        ("≥ 5, low > 3", False),
        ("≥ 6, low > 0", False),
        ("high < 8", True),
        (None, None),
    ],
)
def test_a_goal_is_held_against_the_value_or_an_end_of_the_interval(goal: str | None, met: bool | None) -> None:
    assert Row("gain", 5.0, 3.0, 7.0, 3, goal).met is met


def test_a_goal_that_cannot_be_read_says_so() -> None:
    with pytest.raises(ValueError, match="'at least 6' is no goal"):
        _ = Row("gain", 5.0, 3.0, 7.0, 3, "at least 6").met


def test_repeated_measurements_become_their_median_and_quartiles() -> None:
    row = median("time", [5, 1, 2, 4, 3], "≤ 4")
    assert (row.value, row.low, row.high, row.n, row.goal) == (3, 2, 4, 5, "≤ 4")


def test_a_full_result_has_its_circumstances_and_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(common, "RESULTS", tmp_path)
    rows = [Row("size", 2.0, 1.0, 3.0, 9, "≥ 1", {"bytes": 7}), Row("gain", 0.5, -0.5, 1.5, 9)]
    publish("example", rows, quick=False, threads=3, runs=[1, 2])
    content = read_json(tmp_path / "example.json")
    assert set(content) == {*SHAPE, "runs"}
    assert content["rows"] == [
        {"id": "size", "value": 2, "low": 1, "high": 3, "n": 9, "goal": "≥ 1", "details": {"bytes": 7}},
        {"id": "gain", "value": 0.5, "low": -0.5, "high": 1.5, "n": 9, "goal": None},
    ]
    assert content["machine"]["threads"] == 3
    assert content["versions"]["ultralytics"]
    assert content["runs"] == [1, 2]


def test_a_quick_result_leaves_the_full_one_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(common, "RESULTS", tmp_path)
    publish("example", [Row("size", 2.0, 1.0, 3.0, 9)], quick=False, threads=1)
    before = (tmp_path / "example.json").read_bytes()
    path = publish("example", [Row("size", 9.0, 9.0, 9.0, 1)], quick=True, threads=1)
    assert (tmp_path / "example.json").read_bytes() == before
    assert read_json(path)["quick"]


def test_quick_results_and_interrupted_runs_are_ignored_by_git() -> None:
    for path in (common.RESULTS / "quick" / "example.json", common.RUNS / "example" / "1.json"):
        assert git("check-ignore", str(path), cwd=common.HERE)
    assert not git("check-ignore", str(common.RESULTS / "example.json"), cwd=common.HERE, check=False)


def test_what_an_interrupted_run_measured_is_not_measured_again(tmp_path: Path) -> None:
    measured = []

    def work() -> dict[str, int]:
        measured.append(1)
        return {"seconds": len(measured)}

    first, again = (kept(tmp_path / "run" / "1.json", work) for _ in range(2))
    assert first == again == {"seconds": 1}


def test_a_measurement_that_failed_is_made_again(tmp_path: Path) -> None:
    def fail() -> None:
        raise DataError("no images")

    with pytest.raises(DataError):
        kept(tmp_path / "1.json", fail)
    assert kept(tmp_path / "1.json", lambda: 5) == 5


def test_another_setting_does_not_continue_an_interrupted_run() -> None:
    assert state("example", steps=1) == state("example", steps=1)
    assert state("example", steps=1) != state("example", steps=2)


def test_params_are_the_defaults_but_for_what_a_benchmark_says() -> None:
    default, changed = common.params(), common.params(training={"batch": 3})
    assert changed.training.batch == 3
    assert changed.model_copy(update={"training": default.training}) == default
