from __future__ import annotations

import json
from pathlib import Path

from benchmarks import common, softlabels


def test_dense_maps_are_those_of_coco_at_640_pixels() -> None:
    assert softlabels.DENSE == (4 + 80) * 8400 * 2


def test_the_worst_case_has_all_the_boxes_that_params_allow(tmp_path: Path) -> None:
    softlabels.write_boxes(tmp_path, 3, common.params().soft_labels.max_boxes)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["rows"] == 3
    bytes_of_a_box = 4 * 2 + 10 * 2 + 10 * 2 + 2
    assert (tmp_path / "soft_labels.arrow").stat().st_size > 3 * 100 * bytes_of_a_box


def test_fewer_boxes_take_fewer_bytes() -> None:
    row = softlabels.dense_over_boxes(50)
    assert row.value < row.details["at_coco_mean"]
    assert row.low == row.value == row.high == softlabels.DENSE / row.details["bytes"]


def test_memory_is_measured_above_what_was_there() -> None:
    ballast = bytearray(200 * 2**20)
    # None at all, where this process can use again what earlier tests left.
    assert softlabels.peak_above_imports(256) < len(ballast)
