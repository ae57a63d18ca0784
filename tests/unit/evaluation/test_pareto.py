from __future__ import annotations

from typing import Any

from factories.finished_run import row

from alambique.evaluation.build import pareto_front


def point(name: str, accuracy: float | None, latency: float | None, size: float | None) -> Any:
    return row(f"{name}-onnx-fp32", map50_95=accuracy, latency_p50_ms=latency, size_mb=size)


def names(*rows: Any) -> list[str]:
    return [subject.removesuffix("-onnx-fp32") for subject in pareto_front(rows, "map50_95")]


def test_what_another_beats_in_everything_is_not_on_the_front() -> None:
    assert names(point("accurate", 0.6, 9, 4), point("fast", 0.5, 2, 3), point("worse", 0.4, 3, 4)) == [
        "accurate",
        "fast",
    ]


def test_being_best_in_one_figure_is_enough() -> None:
    best = point("accurate", 0.6, 9, 9), point("fast", 0.1, 1, 9), point("small", 0.1, 9, 1)
    assert names(*best, point("none", 0.1, 9, 9)) == ["accurate", "fast", "small"]


def test_a_tie_in_two_figures_is_decided_by_the_third() -> None:
    assert names(point("a", 0.5, 2, 3), point("b", 0.5, 2, 2.9)) == ["b"]


def test_equals_stand_side_by_side() -> None:
    assert names(point("a", 0.5, 2, 3), point("b", 0.5, 2, 3)) == ["a", "b"]


def test_a_row_that_lacks_a_figure_cannot_be_placed() -> None:
    assert names(point("a", 0.1, 9, 9), point("b", None, 1, 1), point("c", 0.9, None, 1), point("d", 0.9, 1, None)) == [
        "a"
    ]
