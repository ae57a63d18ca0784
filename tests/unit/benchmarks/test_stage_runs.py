from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from benchmarks.stage_runs import Stage, advance, do, given, variant

from alambique import config
from alambique.config import read_yaml
from alambique.errors import DataError
from alambique.files import write_json, write_text


def test_stages_that_are_done_are_not_done_again(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    stages = [Stage("validate"), Stage("control", ("pico", "0"))]
    for stage, name in zip(stages, ("validate.json", "control/pico-0.json"), strict=True):
        assert stage.metrics(tmp_path) == tmp_path / "metrics" / name
        write_json(tmp_path / "metrics" / name, {})
    do(tmp_path, stages)  # the project has nothing that a stage could work on
    (tmp_path / "metrics/validate.json").unlink()
    with pytest.raises(config.ConfigurationError):
        do(tmp_path, stages)


def test_a_failure_ends_the_benchmark_before_further_trainings_begin() -> None:
    begun: list[int] = []

    def fail() -> None:
        raise DataError("no images")

    def train() -> None:
        begun.append(1)
        time.sleep(0.05)

    tasks = {"fails": fail, **{f"training {number}": train for number in range(40)}}
    with ThreadPoolExecutor(1) as pool, pytest.raises(DataError):
        advance(pool, tasks)
    assert len(begun) < 40


def test_missing_data_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="give --data PATH, a dataset in YOLO layout such as BCCD, and --weights PATH"):
        given(None, None)
    with pytest.raises(DataError, match="is the dataset pulled"):
        (tmp_path / "w.pt").touch()
        given(tmp_path, tmp_path / "w.pt")


def test_a_variant_shares_what_it_is_told_to_and_has_its_own_parameters(tmp_path: Path) -> None:
    project = tmp_path / "project"
    write_text(project / "params.yaml", "seed: 0\ndistill: {method: soft, steps: 3}\n")
    write_text(project / "models/teacher/card.json", "{}")
    for _ in range(2):  # a run that continues makes it again
        made = variant(project, "other", ("models/teacher",), distill={"method": "none"}, seed=1)
    assert (made / "models/teacher/card.json").read_text() == "{}"
    assert read_yaml(made / "params.yaml") == {"seed": 1, "distill": {"method": "none", "steps": 3}}
    assert not (made / "models/distilled").exists()
    assert read_yaml(project / "params.yaml")["distill"]["method"] == "soft"
