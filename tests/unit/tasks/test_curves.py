from __future__ import annotations

from pathlib import Path

import pytest

from alambique.errors import ConfigurationError
from alambique.tasks import curves
from alambique.tasks.yolo.distillation_loss import DISTILLATION_LOSSES


def divergence(*values: float) -> list[curves.Row]:
    return [{"step": 10.0 * number, "box_loss": 1.0, "kd_loss": value} for number, value in enumerate(values, 1)]


def test_an_interval_in_words() -> None:
    row = {"step": 1300, "box_loss": 1.23456, "learning_rate": 0.00012346, "map50_95": 0.51234}
    assert curves.line(300, 2000, row, {"map50_95": "mAP50-95"}, 0.524) == (
        "step 300/2000: box_loss 1.235, learning_rate 0.0001235, mAP50-95 on val 0.5123; 0.52 s a step, 0:14:51 left"
    )


@pytest.mark.parametrize(
    "rows",
    [
        divergence(0.5, 0.4, 0.3, 0.2),
        divergence(0.5, 0.5),
        divergence(0.5, 0.5, 0.5 + 1e-6),
        3 * [{"step": 10.0, "box_loss": 1.0}],
    ],
    ids=["falls", "two intervals tell nothing", "hardly moves", "no teacher"],
)
def test_a_teacher_with_an_effect_passes(rows: list[curves.Row]) -> None:
    curves.require_teacher(rows, DISTILLATION_LOSSES)


def test_a_divergence_of_zero_has_no_teacher() -> None:
    with pytest.raises(ConfigurationError, match="nothing before step 20 had a teacher"):
        curves.require_teacher(divergence(0.5, 0.0), DISTILLATION_LOSSES)


def test_a_divergence_that_stands_still_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"kd_loss was 0\.25 the last 3 times, up to step 50"):
        curves.require_teacher(divergence(0.5, 0.4, 0.25, 0.25 + 1e-12, 0.25), DISTILLATION_LOSSES)


def test_rows_are_read_as_they_were_written(tmp_path: Path) -> None:
    curves.write(tmp_path / "curves.csv", divergence(0.5, 0.25))
    assert (tmp_path / "curves.csv").read_text().split() == ["step,box_loss,kd_loss", "10,1.0,0.5", "20,1.0,0.25"]
    assert curves.read(tmp_path / "curves.csv") == divergence(0.5, 0.25)
