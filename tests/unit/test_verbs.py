from __future__ import annotations

import importlib
import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest

from alambique import verbs
from alambique.config.deployment import Deployment
from alambique.errors import ERROR_FILE
from alambique.messages import ArrivalsRequest, Message, Run, Unchanged, UnchangedRequest, pack


@pytest.mark.parametrize("name", verbs.VERBS)
def test_every_verbs_function_takes_its_request(name: str) -> None:
    module, _, function = verbs.VERBS[name].function.partition(":")
    (parameter,) = inspect.signature(
        getattr(importlib.import_module(module), function), eval_str=True
    ).parameters.values()
    assert parameter.annotation is verbs.VERBS[name].request


def call(folder: Path, verb: str, request: Message) -> list[str]:
    """The arguments of a call."""
    (folder / "request.json").write_text(request.model_dump_json())
    return [verb, "--request", str(folder / "request.json"), "--result", str(folder / "result.json")]


def test_a_verb_leaves_its_result(tmp_path: Path) -> None:
    run = Run(run_id="r1", revision="c1", digest="d", sources={}, params={}, lock={})
    request = UnchangedRequest(deployment=Deployment(origin=str(tmp_path), home=tmp_path), run=run)
    verbs.main(call(tmp_path, "unchanged", request))
    assert Unchanged.model_validate_json((tmp_path / "result.json").read_text()).revision == "c1"


def test_a_request_comes_in_an_environment_variable_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(run_id="r1", revision="c1", digest="d", sources={}, params={}, lock={})
    request = UnchangedRequest(deployment=Deployment(origin=str(tmp_path), home=tmp_path), run=run)
    monkeypatch.setenv("ASKED", pack(request))
    verbs.main(["unchanged", "--request-variable", "ASKED", "--result", str(tmp_path / "result.json")])
    assert Unchanged.model_validate_json((tmp_path / "result.json").read_text()).revision == "c1"


def test_an_error_is_one_line_an_exit_code_and_a_file_and_there_is_no_result(tmp_path: Path) -> None:
    request = ArrivalsRequest(deployment=Deployment(origin=str(tmp_path), home=tmp_path))
    done = subprocess.run(
        [sys.executable, "-m", "alambique.verbs", *call(tmp_path, "arrivals", request)],
        env={ERROR_FILE: str(tmp_path / "error.json"), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 78
    assert done.stderr.startswith("ConfigurationError: ")
    assert json.loads((tmp_path / "error.json").read_text())["exit_code"] == 78
    assert not (tmp_path / "result.json").exists()


def test_the_table_imports_nothing_that_a_verb_needs() -> None:
    heavy = {"airflow", "boto3", "dvc", "mlflow", "numpy", "torch", "typer"}
    code = "import json, sys, alambique.verbs; print(json.dumps(list(sys.modules)))"
    imported = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert not heavy.intersection(json.loads(imported))


def test_a_reason_that_is_longer_than_the_ledger_keeps_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    deployment = {"origin": str(tmp_path), "home": str(tmp_path)}
    request = {"deployment": deployment, "model": "cells-onnx", "by": "Ana", "why": "x" * 100_001}
    (tmp_path / "request.json").write_text(json.dumps(request))
    files = ["--request", str(tmp_path / "request.json"), "--result", str(tmp_path / "result.json")]
    with pytest.raises(SystemExit, match="78"):
        verbs.main(["rollback", *files])
    line = capsys.readouterr().err
    assert line.startswith("ConfigurationError: rollback: why: ") and len(line) < 400


@pytest.mark.skipif(sys.platform != "linux", reason="of Linux's /proc")
def test_a_verbs_environment_is_hidden_from_the_stages_that_it_starts(tmp_path: Path) -> None:
    code = "import ctypes; from alambique.process.environment import hide; hide(); print(ctypes.CDLL(None).prctl(3))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "0"
