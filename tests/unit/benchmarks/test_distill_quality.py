from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from benchmarks import datasets, distill_quality
from benchmarks.distill_quality import GAINS, RUNS, SETTINGS, Scale, advance, changes, split, student_stages
from benchmarks.stage_runs import Stage, do, given

from alambique import config
from alambique.config import read_yaml
from alambique.data.dataset import Dataset
from alambique.errors import DataError
from alambique.files import write_json
from alambique.layout import EvaluationTarget
from alambique.runs.new_project import template_dir


def test_every_fifth_image_keeps_its_labels(scenes: Path, tmp_path: Path) -> None:
    source = Dataset.load(scenes)
    data = datasets.link(source, tmp_path / "data", split(source, 5))
    names = [image.name for image in source.images("train")]
    assert [image.name for image in data.images("train")] == names[::5]
    assert sorted(image.name for image in data.images("unlabelled")) == sorted(set(names) - set(names[::5]))
    assert not any(data.label(image).exists() for image in data.images("unlabelled"))
    for part in ("val", "test"):
        assert data.digest(part) == source.digest(part)


def test_all_images_may_keep_their_labels(scenes: Path, tmp_path: Path) -> None:
    source = Dataset.load(scenes)
    data = datasets.link(source, tmp_path / "data", split(source, 1))
    assert data.digest("train") == source.digest("train")
    assert not data.has("unlabelled")


def test_every_setting_is_a_possible_project() -> None:
    content = read_yaml(template_dir() / "params.yaml")
    for setting in SETTINGS.values():
        given = changes(setting, Path("yolo26n.pt"), Scale())
        merged = {key: {**content[key], **value} if isinstance(value, dict) else value for key, value in given.items()}
        params = config.parse({**content, **merged}, "params.yaml")
        assert params.teacher[distill_quality.TEACHER].steps == Scale.teacher_steps
        assert params.distill.steps == Scale.steps
        assert params.networks[distill_quality.STUDENT].weights is None


def test_every_gain_is_between_students_that_are_trained() -> None:
    for first, second, _ in GAINS.values():
        assert {first, second} <= set(RUNS)
    assert {run.setting for run in RUNS} == set(SETTINGS)


def test_a_student_is_trained_and_then_measured() -> None:
    train, measure = student_stages(distill_quality.Run("full", "control"), 2)
    assert train == Stage("control", ("pico", "2"))
    assert EvaluationTarget.parse(*measure.arguments).seed == 2


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
