from __future__ import annotations

from pathlib import Path

import pytest

from alambique import config
from alambique.config import read_yaml
from alambique.demo import run
from alambique.demo.run import DEMOS
from alambique.files import sha256
from alambique.runs.new_project import write_params


@pytest.mark.parametrize("task", DEMOS)
def test_the_settings_of_each_demo_are_valid_today(task: str, tmp_path: Path) -> None:
    settings = read_yaml(Path(run.__file__).with_name(f"{task}.yaml"))
    write_params(tmp_path / "params.yaml", {"project": "demo", "task": task, **settings})
    assert config.load(tmp_path).task == task


def test_a_teacher_of_an_earlier_demo_is_taken_as_it_is(tmp_path: Path) -> None:
    weights = tmp_path / ".demo-teacher.pt"
    weights.write_bytes(b"weights")
    settings = read_yaml(Path(run.__file__).with_name("detect.yaml"))
    settings["teacher"]["main"] |= run.fetched(weights)
    write_params(tmp_path / "params.yaml", {"project": "demo", "task": "detect", **settings})
    teacher = config.load(tmp_path).teacher["main"]
    assert (teacher.source, teacher.weights, teacher.sha256) == ("fetch", str(weights), sha256(weights))
