from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from alambique.drift.verdict import log_to_mlflow, mlflow_metrics
from alambique.files import write_json

FOUND: dict[str, Any] = {
    "id": "0123456789ab",
    "project": "tiny",
    "verdict": "drift",
    "champion": {"tag": "runs/r1", "candidate": "pico-onnx-int8", "data": "1" * 32},
    "batch": {"images": 60, "unreadable": 2},
    "signals": [
        {"name": "sharpness", "statistic": 0.4, "p": 0.001, "adjusted": 0.01, "effect": 0.3, "drifted": True},
        {"name": "classes", "statistic": 3.0, "p": 0.4, "adjusted": 1.0, "effect": None, "drifted": False},
    ],
    "performance": {"production": {"value": 0.4}, "test": {"value": 0.6}},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_json(tmp_path / "verdict" / "drift.json", FOUND)
    (tmp_path / "verdict" / "report.html").write_text("<p>drift</p>")
    return tmp_path / "verdict"


def test_a_verdict_is_one_run_however_often_it_is_logged(folder: Path, tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    assert log_to_mlflow(uri, FOUND, folder) is None  # no server, no address
    log_to_mlflow(uri, FOUND, folder)
    client = MlflowClient(uri, uri)
    experiment = client.get_experiment_by_name("tiny")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.run_name == "drift-0123456789ab"
    assert run.info.status == "FINISHED"
    assert run.data.tags["alambique.drift"] == "drift"
    assert run.data.tags["alambique.champion"] == "runs/r1"
    assert run.data.metrics["sharpness.p"] == 0.001
    assert run.data.metrics["n"] == 60
    assert run.data.metrics["performance.production"] == 0.4
    assert len(client.get_metric_history(run.info.run_id, "n")) == 1
    assert {file.path for file in client.list_artifacts(run.info.run_id)} == {"drift.json", "report.html"}


def test_an_untracked_project_logs_nothing(folder: Path) -> None:
    assert log_to_mlflow(None, FOUND, folder) is None


def test_without_labelled_images_there_is_no_performance() -> None:
    assert mlflow_metrics({**FOUND, "performance": None})["performance"] == {}
