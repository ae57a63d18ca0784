from __future__ import annotations

import io
from pathlib import Path

import pytest
from factories import checkpoints, measured_run
from rich.console import Console

from alambique import config, layout
from alambique.report.figures import count, number, points, signed
from alambique.report.terminal import print_leaderboard
from alambique.stages.compare import compare


def test_the_table_fits_a_hundred_columns_and_has_every_present_subject(tmp_path: Path, scenes: Path) -> None:
    root = checkpoints.project(tmp_path / "project", scenes)
    measured_run.write(root)
    stream = io.StringIO()
    print_leaderboard(compare(root, config.load(root)), Console(file=stream))
    text = stream.getvalue()
    assert max(len(line) for line in text.splitlines()) <= 100
    for subject in layout.evaluation_targets(["main"], ["pico"], [0], ["onnx", "openvino"], ["onnx", "openvino"]):
        assert (subject.name in text) == (subject.kind != "champion")
    words = " ".join(text.split())
    assert "Distillation made no clear difference to student pico" in words
    assert "[" in words.split("no clear difference")[1]  # the interval is no markup
    assert "8 test images only" in words
    assert "…" not in text
    assert "Pareto front of onnx: pico-onnx-fp32, pico-onnx-int8" in words


def test_students_come_in_the_order_of_params_also_from_the_file(tmp_path: Path, scenes: Path) -> None:
    """JSON's keys are sorted."""
    root = checkpoints.project(tmp_path / "project", scenes)
    measured_run.write(root)
    board = compare(root, config.load(root))
    board["students"] = ["pico", "nano"]
    board["distillation_gain"] = {"nano": None, **board["distillation_gain"]}
    board["gain_parts"] = {"nano": [], **board["gain_parts"]}
    board["teacher_advantage"] = {"nano": {"teacher-main": None}, **board["teacher_advantage"]}
    stream = io.StringIO()
    print_leaderboard(board, Console(file=stream, width=200))
    assert stream.getvalue().index("difference to student pico") < stream.getvalue().index("worth to nano")


@pytest.mark.parametrize(("teacher", "notice"), [(0.1, True), (0.8, False)])
def test_a_teacher_that_knows_no_more_than_the_control_is_pointed_out(
    tmp_path: Path, scenes: Path, teacher: float, notice: bool
) -> None:
    root = checkpoints.project(tmp_path / "project", scenes)
    measured_run.write(root, teacher=teacher, control=0.7 if notice else 0.1)
    stream = io.StringIO()
    print_leaderboard(compare(root, config.load(root)), Console(file=stream))
    words = " ".join(stream.getvalue().split())
    assert ("The teacher knows no more than the control of pico (mAP50-95 10.0 against 70.0" in words) == notice
    assert ("points of mAP50-95" in words) and words.index("points of mAP50-95") < words.index("Distilled minus")


@pytest.mark.parametrize(("value", "text"), [(0.605, "60.5"), (None, "–"), (0.0, "0.0"), (1.0, "100.0")])
def test_map_is_told_in_points(value: float | None, text: str) -> None:
    assert points(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.012, "+1.2"), (-0.012, "−1.2"), (-0.0001, "±0.0"), (0.0, "±0.0"), (None, "–"), (-0.1, "−10.0")],
)
def test_a_change_has_a_sign(value: float | None, text: str) -> None:
    assert signed(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(1.0, "1.00"), (0.31234, "0.312"), (12.345, "12.3"), (99.96, "100"), (1234.5, "1234"), (None, "–")],
)
def test_a_number_has_three_digits_and_no_exponent(value: float | None, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(("value", "text"), [(2_504_580, "2.5 M"), (677_978, "678 k"), (12, "12"), (None, "–")])
def test_a_count_has_a_unit(value: float | None, text: str) -> None:
    assert count(value) == text
