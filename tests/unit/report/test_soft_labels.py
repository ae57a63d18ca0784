"""What every task's inspection of soft labels tells."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from factories.soft_labels import RECIPE
from rich.console import Console

from alambique.evaluation.measures import Measure
from alambique.files import write_json
from alambique.report.soft_labels import BINS, cache_facts, print_facts, print_histogram

MEASURES = {"map50_95": Measure("mAP50-95"), "map50": Measure("mAP50")}
FIRST, SECOND = (digest[:12] for digest in RECIPE.teachers)


def facts(project: Path, **card: Any) -> dict[str, str]:
    write_json(project / "models/teacher/main/card.json", {"sha256": RECIPE.teachers[1], **card})
    return cache_facts(project, RECIPE, 8, "images", MEASURES)


@pytest.mark.parametrize(
    ("card", "words"),
    [
        ({"val_map50_95": 0.731, "val_map50": 0.9}, ", mAP50-95 73.1 on val"),
        ({"val_map50_95": None}, ", mAP50-95 – on val"),
        ({}, ""),
    ],
)
def test_a_teacher_of_the_project_is_told_by_its_name_and_its_headline_on_val(
    tmp_path: Path, card: dict[str, Any], words: str
) -> None:
    assert facts(tmp_path, **card)["teachers"] == f"{FIRST}; main {SECOND}{words} (average)"


def test_the_caches_key_and_size_are_shown(tmp_path: Path) -> None:
    (tmp_path / "soft_labels/0").mkdir(parents=True)
    (tmp_path / "soft_labels/0/soft_labels.arrow").write_bytes(bytes(1600))
    words = facts(tmp_path)
    assert (words["key"], words["on disk"]) == (RECIPE.digest(), "1,600 bytes, 200 an image")


def test_names_are_no_markup_and_a_histogram_has_a_line_for_two_bins() -> None:
    console = Console(file=io.StringIO())
    print_facts({"teachers": "[red] x"}, console)
    counts = np.zeros(BINS, np.int64)
    counts[[0, 1, 19]] = (2, 1, 1)
    print_histogram("confidence", "boxes", counts, console)
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert "[red] x" in lines[0]
    assert lines[2:4] == ["confidence, share of boxes", f"  0.0–0.1   75.0 %  {'█' * 36}"]
    assert lines[4:-1] == [f"  {number / 10:.1f}–{(number + 1) / 10:.1f}    0.0 %" for number in range(1, 9)]
    assert lines[-1] == f"  0.9–1.0   25.0 %  {'█' * 12}"
