"""`python -m alambique.airflow.dag_runner`, as the demo calls it, with a stand-in for the ML side: see verbs.py."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from factories.airflow_project import environment, lay_out, make_origin, stand_in

from alambique.local.services import runner_environment
from alambique.pipeline import expansion

STAGES = {
    "teacher": {"cmd": "true", "deps": ["data"], "outs": ["models/teacher"]},
    "control": {"cmd": "true", "deps": ["data"], "outs": ["models/control"]},
    "distill": {"cmd": "true", "deps": ["data", "models/teacher"], "outs": ["models/distilled"]},
}
"""What the runner does with a stage it does with each."""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One in which a person is asked before a promotion."""
    root = tmp_path_factory.mktemp("project")
    python = stand_in(tmp_path_factory.mktemp("python"))
    lay_out(root, python=python, project="cells", runtimes=["onnx"], int8=[], promotion={"policy": "approval"})
    (root / "dvc.yaml").write_text(yaml.safe_dump({"stages": STAGES}))
    expansion.write(root)
    make_origin(root)
    return root


@pytest.fixture(scope="module")
def shown(project: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What a distillation and a promotion show."""
    home = tmp_path_factory.mktemp("airflow")
    variables = {**environment(home, project), **runner_environment(project), "AIRFLOW_HOME": str(home)}
    command = [sys.executable, "-m", "alambique.airflow.dag_runner", project]
    return [
        subprocess.run([*command, name], env=variables, stdout=subprocess.PIPE, text=True, check=True).stdout
        for name in ("distill", "promote")
    ]


def tasks(output: str) -> list[str]:
    return [line.split()[1] for line in output.splitlines() if line.startswith("✓")]


def test_every_task_of_a_run_has_its_line(project: Path, shown: list[str]) -> None:
    graph = json.loads((project / "pipeline.json").read_text())["stages"]
    around = ["cooldown", "snapshot", "changes", "register", "gate", "record", "end"]
    assert len(tasks(shown[0])) == len(graph) + len(around)
    assert tasks(shown[0])[-1] == "end"


def test_what_was_skipped_has_none(shown: list[str]) -> None:
    assert "no_new_data" not in shown[0]


def test_nobody_is_asked_since_whoever_started_the_promotion_decides(project: Path, shown: list[str]) -> None:
    assert tasks(shown[1]) == ["propose", "promote"]
    calls = [json.loads(line) for line in (project / "calls").read_text().splitlines()]
    proposed, promoted = (next(call for call in calls if call["verb"] == verb) for verb in ("propose", "promote"))
    assert promoted["tag"] == proposed["tag"]
    assert (promoted["by"], promoted["why"], promoted["judgement"]) == ("dag_test", "", "1" * 64)
