from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest
from factories.finished_run import row

from alambique.config.section import Runtime
from alambique.report.plots import COLORS, FADED, Axis, accuracy_against, pruning_costs
from alambique.tasks.classifiers.pictures import confusion


def test_every_runtime_has_a_colour_of_its_own() -> None:
    assert set(COLORS) == set(get_args(Runtime))
    assert len(set(COLORS.values())) == len(COLORS)


def test_layers_stand_in_the_order_of_the_network() -> None:
    svg = pruning_costs(
        {name: {"0.25": 0.01, "0.5": 0.1} for name in ("10 out", "2 hidden", "2 out", "0 out")}, "mAP50-95"
    )
    labels = [svg.index(f">{name}<") for name in ("0 out", "2 hidden", "2 out", "10 out")]
    assert labels == sorted(labels)


@pytest.mark.parametrize(("fronts", "faded"), [(["pico-onnx-fp32"], 1), (["pico-onnx-fp32", "pico-onnx-int8"], 0)])
def test_what_is_not_on_the_front_is_faded(fronts: list[str], faded: int) -> None:
    rows: Any = [row("pico-onnx-fp32"), row("pico-onnx-int8", map50_95=0.4)]
    svg = accuracy_against(rows, fronts, Axis("size_mb", "MB"), Axis("map50_95", "mAP50-95"))
    assert svg is not None
    assert "mAP50-95, points" in svg
    assert svg.count(f"fill-opacity: {FADED}") == faded


def test_a_class_may_be_called_as_a_formula_is_written() -> None:
    names = [r"$\frac$", "$x$", "<b>"]
    shown = confusion(np.eye(3, dtype=np.int64), names)
    assert shown.count("&lt;b&gt;") == 2
    assert shown.count(r"$\frac$") >= 2
