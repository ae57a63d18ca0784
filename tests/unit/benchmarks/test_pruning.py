from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks import student_yolo26n
from benchmarks.pruning import PRUNED, row

from alambique import config
from alambique.files import write_text
from alambique.layout import evaluation
from alambique.runs.new_project import template_dir
from alambique.tasks.yolo.evaluate import write_results

IMAGES = 4


def arm(folder: Path, correct: int) -> Path:
    found = {"boxes": [[0.1, 0.1, 0.4, 0.4]], "scores": [0.9], "classes": [0], "correct": [correct], "truth": [0]}
    (folder / evaluation(PRUNED)).mkdir(parents=True)
    rows = [{"image": f"test/{number}.png", **found} for number in range(IMAGES)]
    write_results(folder / evaluation(PRUNED) / "images.arrow", rows)
    return folder


def test_the_gain_is_in_points_and_paired_over_seeds_and_images(tmp_path: Path) -> None:
    every, half = 0b1111111111, 0b0000011111  # right at all ten IoU thresholds, and at five of them
    taught = [arm(tmp_path / f"soft-{seed}", every) for seed in (0, 1)]
    untaught = [arm(tmp_path / f"none-{seed}", half) for seed in (0, 1)]
    found = row(taught, untaught)
    assert found.value == pytest.approx(50, abs=0.5)  # AP interpolates over 101 recalls
    assert (found.n, found.details) == (2 * IMAGES, {"seeds": 2, "images": IMAGES})
    assert found.met


def test_a_variant_shares_what_it_is_not_about_and_changes_its_own_parameters(tmp_path: Path) -> None:
    project = tmp_path / "project"
    write_text(project / "params.yaml", (template_dir() / "params.yaml").read_text())
    write_text(project / "data" / "data.yaml", "names: []")
    variant = student_yolo26n.variant(project, "small", seed=7, prune={"ratio": 0.5})
    assert (variant / "data").resolve() == project / "data"
    params, before = config.load(variant), config.load(project)
    assert (params.seed, params.prune.ratio, params.prune.steps) == (7, 0.5, before.prune.steps)
    assert before.seed == 0
    assert student_yolo26n.variant(project, "small", seed=7, prune={"ratio": 0.5}) == variant
