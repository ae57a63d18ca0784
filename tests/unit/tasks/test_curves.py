from __future__ import annotations

from pathlib import Path

import pytest

from alambique.errors import ConfigurationError
from alambique.tasks import curves
from alambique.tasks.yolo.distillation_loss import DISTILLATION_LOSSES


def divergence(*values: float) -> list[curves.Row]:
    return [{"box_loss": 1.0, "kd_loss": value} for value in values]


def test_an_epoch_in_words() -> None:
    row = {"box_loss": 1.23456, "learning_rate": 0.00012346}
    assert curves.line(30, [row, row], 125.04) == (
        "epoch 2/30: box_loss 1.235, learning_rate 0.0001235; 125.0 s, 0:58:21 left"
    )


@pytest.mark.parametrize(
    "rows",
    [
        divergence(0.5, 0.4, 0.3, 0.2),
        divergence(0.5, 0.5),
        divergence(0.5, 0.5, 0.5 + 1e-6),
        3 * [{"box_loss": 1.0}],
    ],
    ids=["falls", "two epochs tell nothing", "hardly moves", "no teacher"],
)
def test_a_teacher_with_an_effect_passes(rows: list[curves.Row]) -> None:
    curves.require_teacher(rows, DISTILLATION_LOSSES)


def test_a_divergence_of_zero_has_no_teacher() -> None:
    with pytest.raises(ConfigurationError, match="nothing in epoch 2 had a teacher"):
        curves.require_teacher(divergence(0.5, 0.0), DISTILLATION_LOSSES)


def test_a_divergence_that_stands_still_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"kd_loss has been 0\.25 for 3 epochs, up to epoch 5"):
        curves.require_teacher(divergence(0.5, 0.4, 0.25, 0.25 + 1e-12, 0.25), DISTILLATION_LOSSES)


def test_epochs_are_rows_counted_from_one(tmp_path: Path) -> None:
    curves.write(tmp_path / "curves.csv", divergence(0.5, 0.25))
    assert (tmp_path / "curves.csv").read_text().split() == ["epoch,box_loss,kd_loss", "1,1.0,0.5", "2,1.0,0.25"]
