from __future__ import annotations

import importlib
import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest

from alambique.errors import ERROR_FILE, ConfigurationError
from alambique.stage import STAGES, run


@pytest.mark.parametrize("name", STAGES)
def test_every_stage_takes_the_project_first(name: str) -> None:
    parameters = inspect.signature(importlib.import_module(f"alambique.stages.{name}").run).parameters
    assert next(iter(parameters)) == "project"


def test_an_unknown_stage_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no stage 'destill'; the stages are validate"):
        run(tmp_path, "destill")


def test_wrong_arguments_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"takes \['student', 'seed'\], got \[\]"):
        run(tmp_path, "distill")


def test_an_error_is_one_line_an_exit_code_and_a_file(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "alambique.stage", "distill", "pico", "0"],
        cwd=tmp_path,
        env={ERROR_FILE: str(tmp_path / "error.json"), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 78
    assert done.stderr.startswith("ConfigurationError: cannot read")
    assert json.loads((tmp_path / "error.json").read_text())["exit_code"] == 78
