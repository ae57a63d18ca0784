from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from factories import checkpoints
from factories.stage_work import evaluate

from alambique import config
from alambique.config.detect import Evaluate
from alambique.errors import IntegrityError
from alambique.layout import DATA
from alambique.tasks.yolo import production_images
from alambique.tasks.yolo.dataset import YoloDataset
from alambique.tasks.yolo.evaluate import write_results

SETTINGS = Evaluate(threshold=0.5)


def row(*scores: float, image: str = "a.png", shift: float = 0.0) -> dict[str, object]:
    """Boxes side by side, one a score."""
    boxes = [[0.2 * index + shift, 0.1, 0.2 * index + 0.15 + shift, 0.3] for index in range(len(scores))]
    return {"image": image, "boxes": boxes, "scores": list(scores), "classes": [0] * len(scores)}


def test_what_is_not_sure_enough_does_not_count() -> None:
    found = production_images.summarize([row(0.9, 0.7, 0.4), row(0.3), row()], SETTINGS)
    assert found == {
        "images": 3,
        "threshold": 0.5,
        "boxes": pytest.approx(2 / 3),
        "confidence": pytest.approx(0.8),
        "empty": pytest.approx(2 / 3),
    }
    assert production_images.summarize([row(0.3)], SETTINGS)["confidence"] is None


def test_agreement_is_the_share_of_boxes_that_both_found(tmp_path: Path) -> None:
    found = {"one": [row(0.9, 0.8, 0.7), row()], "other": [row(0.6), row()], "moved": [row(0.9, shift=0.1), row()]}
    for name, rows in found.items():
        (tmp_path / name).mkdir()
        write_results(tmp_path / name / production_images.RESULTS, rows, production_images.SCHEMA)
    assert production_images.agreement(tmp_path / "one", tmp_path / "other", SETTINGS) == pytest.approx(2 / 4)
    assert production_images.agreement(tmp_path / "one", tmp_path / "one", SETTINGS) == 1
    assert production_images.agreement(tmp_path / "moved", tmp_path / "other", SETTINGS) == 0
    assert production_images.agreement(tmp_path / "one", tmp_path, SETTINGS) is None
    other = [row(0.6, image="b.png"), row()]
    write_results(tmp_path / "other" / production_images.RESULTS, other, production_images.SCHEMA)
    with pytest.raises(IntegrityError, match="different images"):
        production_images.agreement(tmp_path / "one", tmp_path / "other", SETTINGS)


def test_only_images_from_production_are_predicted(scenes: Path, tmp_path: Path) -> None:
    project = checkpoints.project(tmp_path / "project", scenes)
    checkpoints.checkpoint(project)
    params = config.load(project)
    for target in ("without", "with"):
        (tmp_path / target).mkdir()
    assert "field" not in evaluate(project, params, "teacher-main", tmp_path / "without")
    assert not (tmp_path / "without" / production_images.RESULTS).exists()
    images = sorted((project / DATA / "images/unlabelled").iterdir())[:3]
    folder = project / DATA / "images/unlabelled/field"
    folder.mkdir()
    for image in images:
        shutil.copyfile(image, folder / image.name)
    metrics = evaluate(project, params, "teacher-main", tmp_path / "with")
    assert metrics["field"]["images"] == 3
    assert production_images.agreement(tmp_path / "with", tmp_path / "with", params.evaluate) == pytest.approx(
        1, abs=0.05
    )
    assert production_images.chosen(YoloDataset.load(project / DATA)) == sorted(folder.iterdir())
