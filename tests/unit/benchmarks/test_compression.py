from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks.compression import FINAL, PRUNED, WHOLE, Artifacts, drop, figures, ratio, sizes

from alambique.files import write_json
from alambique.layout import CARD, evaluation, evaluation_metrics
from alambique.tasks.yolo.evaluate import write_results

BYTES = {WHOLE: 9_600_000, PRUNED: 3_200_000, FINAL: 1_500_000}


@pytest.fixture
def artifacts(tmp_path: Path) -> Artifacts:
    """Each in a project of its own, all finding the same boxes, so that only bytes differ."""
    found = {"boxes": [[0.1, 0.1, 0.4, 0.4]], "scores": [0.9], "classes": [0], "correct": [1023], "truth": [0]}
    rows = [{"image": f"test/{number}.png", **found} for number in range(4)]
    folders = {}
    for each, size in BYTES.items():
        folder = folders[each] = tmp_path / each.name
        write_json(folder / each.folder / CARD, {"size_bytes": size})
        (folder / evaluation(each.name)).mkdir(parents=True)
        write_results(folder / evaluation(each.name) / "images.arrow", rows)
        known = {"map50_95": 0.5, "map50": 0.7, "parameters": 10, "macs": 20, "size_bytes": size}
        write_json(folder / evaluation_metrics(each.name), known)
    return folders


def test_a_speedup_is_taken_within_a_round() -> None:
    row = ratio("speedup", [30.0, 15.0, 60.0], [10.0, 5.0, 20.0], "≥ 3")
    assert (row.value, row.low, row.high, row.n, row.met) == (3.0, 3.0, 3.0, 3, True)


def test_size_is_the_plain_exports_over_the_smallest_artifacts(artifacts: Artifacts) -> None:
    row = sizes(artifacts)
    assert row.value == pytest.approx(6.4)
    assert row.met


def test_artifacts_that_find_the_same_lose_nothing(artifacts: Artifacts) -> None:
    row = drop(artifacts)
    assert (row.id, row.value, row.low, row.high, row.n, row.met) == ("map_drop", 0.0, 0.0, 0.0, 4, True)


def test_the_file_says_which_artifact_was_pruned(artifacts: Artifacts) -> None:
    told = [figures(each, artifacts[each], [2.0, 4.0]) for each in (WHOLE, FINAL)]
    assert [each["pruned"] for each in told] == [False, True]
    assert told[1]["artifact"] == "nano-openvino-int8"
    assert told[1]["p50_ms"] == 3.0
