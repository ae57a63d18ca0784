from __future__ import annotations

from pathlib import Path

import pytest

from alambique.files import read_json, write_json
from alambique.layout import CARD, champion, evaluation, evaluation_metrics
from alambique.pipeline import graph
from alambique.pipeline.graph import Stage
from alambique.runs.run_stage import write_absent

PIPELINE = graph.read(Path(__file__).parents[3])


def evaluating(subject: str) -> Stage:
    return Stage(name="evaluate", cmd=f"python -m alambique.stages evaluate {subject}")


def test_a_champion_that_does_not_exist_has_an_empty_folder_and_is_not_present(tmp_path: Path) -> None:
    assert write_absent(PIPELINE.stages["evaluate_champion@onnx"], tmp_path)
    assert list((tmp_path / evaluation("champion-onnx")).iterdir()) == []
    found = read_json(tmp_path / evaluation_metrics("champion-onnx"))
    assert found == {"subject": "champion-onnx", "present": False}


def test_a_champion_that_exists_must_be_measured(tmp_path: Path) -> None:
    write_json(tmp_path / champion("onnx") / CARD, {})
    assert not write_absent(evaluating("champion-onnx"), tmp_path)
    assert not (tmp_path / evaluation("champion-onnx")).exists()


@pytest.mark.parametrize(
    "name", sorted(PIPELINE.stages.keys() - {"evaluate_champion@onnx", "evaluate_champion@openvino"})
)
def test_every_other_stage_must_run(name: str, tmp_path: Path) -> None:
    assert not write_absent(PIPELINE.stages[name], tmp_path)
