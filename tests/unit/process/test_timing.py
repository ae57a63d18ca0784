from __future__ import annotations

from collections import Counter

import pytest

from alambique.process import timing


def test_each_round_runs_every_artifact_once_and_begins_one_further() -> None:
    assert list(timing.turns(["a", "b", "c"], 4)) == ["a", "b", "c", "b", "c", "a", "c", "a", "b", "a", "b", "c"]


def test_no_artifact_means_no_turns() -> None:
    assert list(timing.turns([], 3)) == []


def test_warm_up_is_run_but_not_counted() -> None:
    calls: Counter[str] = Counter()
    runners = {name: lambda name=name: calls.update([name]) for name in ("a", "b")}
    times = timing.measure(runners, warmup=2, runs=5)
    assert calls == {"a": 7, "b": 7}
    assert {name: len(values) for name, values in times.items()} == {"a": 5, "b": 5}


def test_summary_is_in_the_unit_of_its_times() -> None:
    percentiles = {"p50_ms": 2.0, "p95_ms": pytest.approx(2.9), "p99_ms": pytest.approx(2.98)}
    assert timing.summarize([1.0, 2.0, 3.0]) == {**percentiles, "mean_ms": 2.0, "n": 3}
