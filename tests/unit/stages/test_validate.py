from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
import yaml

from alambique.errors import ConfigurationError, DataError
from alambique.files import read_json
from alambique.process.environment import prepare
from alambique.stages import validate

prepare()


@pytest.fixture
def project(scenes: Path, tmp_path: Path) -> Path:
    """Parameters and data: all that the stage reads."""
    shutil.copytree(scenes, tmp_path / "data")
    params = yaml.safe_load((Path(__file__).parents[3] / "params.yaml").read_text())
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({**params, "validation": {"min_boxes_per_class": 0}}))
    return tmp_path


def test_a_sound_dataset_is_counted_and_let_through(project: Path) -> None:
    validate.run(project)
    verdict = read_json(project / "metrics/validate.json")
    assert verdict["success"]
    assert verdict["failures"] == []
    assert verdict["images"] == {"train": 24, "val": 8, "test": 8, "unlabelled": 8}
    rows = {split: "".join(p.read_text() for p in project.glob(f"data/labels/{split}/*")) for split in verdict["boxes"]}
    assert verdict["boxes"] == {split: text.count("\n") for split, text in rows.items()}
    assert sum(verdict["classes"].values()) == sum(verdict["boxes"].values())
    validate.require_valid(project)


def test_a_broken_dataset_is_a_verdict_which_later_stages_refuse(project: Path) -> None:
    (project / "data/labels/train/00002.txt").write_text("0 0.5 0.5\n")
    validate.run(project)
    verdict = read_json(project / "metrics/validate.json")
    assert not verdict["success"]
    with pytest.raises(DataError, match=r"contract.*\n- every label row.*labels/train/00002.txt:1"):
        validate.require_valid(project)


def test_the_result_and_the_report_are_great_expectations_own(project: Path) -> None:
    (project / "data/images/val/00001.png").write_bytes(b"not an image")
    validate.run(project)
    tables = read_json(project / "validation/result.json")
    assert set(tables) == {"images", "boxes", "counts"}
    kinds = {item["expectation_config"]["type"] for table in tables.values() for item in table["results"]}
    assert "expect_column_values_to_be_in_set" in kinds
    (page,) = (project / "validation/data_docs/validations/images").rglob("*.html")
    assert "images/val/00001.png" in page.read_text()
    assert (project / "validation/data_docs/index.html").exists()


def test_equal_data_gives_equal_results(project: Path) -> None:
    results = []
    for _ in range(2):
        validate.run(project)
        results.append([(project / path).read_bytes() for path in ("validation/result.json", "metrics/validate.json")])
    assert results[0] == results[1]


@pytest.mark.skipif(sys.platform == "darwin", reason="this is an Apple machine")
def test_runtimes_that_cannot_be_made_are_refused_before_the_data_are_read(project: Path) -> None:
    params = yaml.safe_load((project / "params.yaml").read_text())
    (project / "params.yaml").write_text(yaml.safe_dump({**params, "runtimes": ["onnx", "openvino", "coreml"]}))
    with pytest.raises(ConfigurationError, match="coreml: Core ML runs on Apple machines only"):
        validate.run(project)
    assert not (project / "metrics/validate.json").exists()
