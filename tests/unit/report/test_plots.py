from __future__ import annotations

from typing import Any, get_args

import pytest
from finished_run import row

from alambique.config import Runtime
from alambique.report.plots import COLORS, FADED, accuracy_against


def test_every_runtime_has_a_colour_of_its_own() -> None:
    assert set(COLORS) == set(get_args(Runtime))
    assert len(set(COLORS.values())) == len(COLORS)


@pytest.mark.parametrize(("fronts", "faded"), [(["pico-onnx-fp32"], 1), (["pico-onnx-fp32", "pico-onnx-int8"], 0)])
def test_what_is_not_on_the_front_is_faded(fronts: list[str], faded: int) -> None:
    rows: Any = [row("pico-onnx-fp32"), row("pico-onnx-int8", map50_95=0.4)]
    svg = accuracy_against(rows, fronts, "size_mb", "MB")
    assert svg is not None
    assert svg.count(f"fill-opacity: {FADED}") == faded
