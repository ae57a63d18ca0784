from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from alambique.errors import ConfigurationError, TransientError
from alambique.files import write_json
from alambique.git import git
from alambique.messages import StageResult
from alambique.process.events import EVENTS_FILE, emit
from alambique.registry import metrics_tail, tracking

PARAMS = {"params.yaml": {"distill": {"steps": 3}, "seed": 0}, "versions.yaml": {"alambique": "0.1.0"}}


@pytest.fixture
def parent(tracking_uri: str) -> str:
    run = tracking.start_run(tracking_uri, "cells", "r1", {"alambique.revision": "abc"})
    assert run
    return run


def children(client: MlflowClient, parent: str) -> list[Run]:
    experiment = client.get_run(parent).info.experiment_id
    return list(client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{parent}'"))


def test_a_run_is_started_once(tracking_uri: str, parent: str, client: MlflowClient) -> None:
    assert tracking.start_run(tracking_uri, "cells", "r1", {}) == parent
    assert tracking.start_run(tracking_uri, "cells", "r2", {}) != parent
    run = client.get_run(parent)
    assert run.info.run_name == "r1"
    assert run.data.tags["alambique.revision"] == "abc"


def test_artifacts_lie_beside_the_database(parent: str, client: MlflowClient, tmp_path: Path) -> None:
    assert client.get_run(parent).info.artifact_uri.startswith((tmp_path / "mlartifacts" / "cells").as_uri())


def test_nothing_is_tracked_without_a_uri(tmp_path: Path) -> None:
    assert tracking.start_run(None, "cells", "r1", {}) is None
    with tracking.stage_run(None, None, "distill@pico", "k", PARAMS, tmp_path / "events") as child:
        child.log_outputs(tmp_path, ["metrics/none.json"])
    assert child.run_id is None


@pytest.mark.parametrize("uri", ["file:///tmp/runs", "postgresql://host/db", "nonsense"])
def test_uris_without_a_place_for_artifacts_are_refused(uri: str) -> None:
    with pytest.raises(ConfigurationError, match="tracking_uri"):
        tracking.start_run(uri, "cells", "r1", {})


def test_a_dead_server_is_worth_a_retry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(TransientError, match=r"127\.0\.0\.1:9"):
        tracking.start_run("http://127.0.0.1:9", "cells", "r1", {})


def test_a_dead_server_does_not_lose_a_training(
    monkeypatch: pytest.MonkeyPatch, warned: list[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with tracking.stage_run("http://127.0.0.1:9", "parent", "distill@pico", "k", PARAMS, tmp_path / "events") as child:
        trained = True
    assert trained and child.run_id is None
    assert "could not start a child run in MLflow" in warned[0]


def test_a_child_carries_key_params_and_outputs(
    tracking_uri: str, parent: str, client: MlflowClient, tmp_path: Path
) -> None:
    write_json(
        tmp_path / "metrics/pico.json", {"map": 0.5, "ap": {"red/cell %": 0.25}, "kind": "x", "ok": True, "n": None}
    )
    write_json(tmp_path / "models/pico/card.json", {})
    (tmp_path / "models/pico/weights.pt").write_bytes(b"weights")
    (tmp_path / "models/pico/report.html").write_bytes(b" " * (5 * 2**20 + 1))
    with tracking.stage_run(tracking_uri, parent, "distill@pico", "key1", PARAMS, tmp_path / "events") as child:
        child.log_outputs(tmp_path, ["metrics/pico.json", "models/pico"])
    run = client.get_run(str(child.run_id))
    assert run.info.status == "FINISHED"
    assert run.data.tags["mlflow.parentRunId"] == parent
    assert run.data.tags["alambique.key"] == "key1"
    assert run.data.params == {"distill.steps": "3", "seed": "0", "alambique": "0.1.0"}
    assert run.data.metrics == {"map": 0.5, "ap.red/cell _": 0.25}
    logged = [file.path for file in client.list_artifacts(run.info.run_id, "models/pico")]
    assert logged == ["models/pico/card.json"]


def test_any_number_of_params_and_classes_is_logged(
    tracking_uri: str, parent: str, client: MlflowClient, tmp_path: Path
) -> None:
    write_json(tmp_path / "metrics/pico.json", {"ap": {f"class {index}": 0.5 for index in range(1203)}})
    params = {"params.yaml": {f"key{index}": index for index in range(250)}}
    with tracking.stage_run(tracking_uri, parent, "distill@pico", "k", params, tmp_path / "events") as child:
        child.log_outputs(tmp_path, ["metrics/pico.json"])
    data = client.get_run(str(child.run_id)).data
    assert (len(data.params), len(data.metrics)) == (250, 1203)


def test_a_failed_stage_is_a_failed_child_and_keeps_its_error(
    tracking_uri: str, parent: str, client: MlflowClient, tmp_path: Path
) -> None:
    with pytest.raises(ZeroDivisionError):
        with tracking.stage_run(tracking_uri, parent, "distill@pico", "k", PARAMS, tmp_path / "events"):
            _ = 1 / 0
    assert [run.info.status for run in children(client, parent)] == ["FAILED"]


def test_curves_are_live_and_complete(
    tracking_uri: str, parent: str, client: MlflowClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics_tail, "SECONDS", 0.05)
    events = tmp_path / "events"
    monkeypatch.setenv(EVENTS_FILE, str(events))
    with tracking.stage_run(tracking_uri, parent, "distill@pico", "k", PARAMS, events) as child:
        emit(0, loss=2.0)
        end = time.monotonic() + 20
        while not client.get_metric_history(str(child.run_id), "loss") and time.monotonic() < end:
            time.sleep(0.05)
        assert client.get_metric_history(str(child.run_id), "loss"), "nothing arrived while the stage ran"
        emit(1, loss=1.0)
        with events.open("a") as file:
            file.write('{"step": 2, "met')
    history = client.get_metric_history(str(child.run_id), "loss")
    assert [(metric.step, metric.value) for metric in history] == [(0, 2.0), (1, 1.0)]


def test_events_that_could_not_be_sent_are_sent_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_tail, "SECONDS", 0.05)
    events, sent = tmp_path / "events", []
    events.write_text(json.dumps({"step": 0, "metrics": {"loss": 2.0}}) + "\n")
    failures = iter([OSError("network"), OSError("network")])

    def send(lines: list[dict[str, Any]]) -> None:
        if error := next(failures, None):
            raise error
        sent.extend(lines)

    with metrics_tail.following(send, events):
        end = time.monotonic() + 20
        while not sent and time.monotonic() < end:
            time.sleep(0.02)
    assert sent == [{"step": 0, "metrics": {"loss": 2.0}}]


def test_reused_stages_appear_with_the_metrics_of_the_run_that_made_them(
    tracking_uri: str, parent: str, client: MlflowClient, tmp_path: Path
) -> None:
    write_json(tmp_path / "metrics/pico.json", {"map": 0.5})
    with tracking.stage_run(tracking_uri, parent, "distill@pico", "key1", PARAMS, tmp_path / "events") as made:
        made.log_outputs(tmp_path, ["metrics/pico.json"])
    later = tracking.start_run(tracking_uri, "cells", "r2", {})
    results = {
        stage: StageResult(stage=stage, key=key, entry={"params": PARAMS}, found=found, tracking_run=child)
        for stage, key, found, child in (
            ("distill@pico", "key1", "store", None),
            ("teacher", "key-from-before-tracking", "lock", None),
            ("benchmark", "key2", "ran", "its own"),
            ("evaluate_champion@onnx", "key3", "ran", None),  # answered without a process, and so without a child
        )
    }
    for _ in range(2):
        tracking.log_reused(tracking_uri, later, results)
    shown = {run.data.tags["alambique.stage"]: run for run in children(client, str(later))}
    assert shown.keys() == {"distill@pico", "teacher", "evaluate_champion@onnx"}
    assert len(children(client, str(later))) == 3
    reused = shown["distill@pico"]
    assert reused.data.tags["alambique.found"] == "store"
    assert reused.data.tags["alambique.made_by"] == made.run_id
    assert reused.data.metrics == {"map": 0.5}
    assert reused.info.status == "FINISHED"
    assert "alambique.made_by" not in shown["teacher"].data.tags


@pytest.fixture
def laptop(tracking_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_uri)
    monkeypatch.delenv(EVENTS_FILE, raising=False)
    project = tmp_path / "project"
    project.mkdir()
    (project / "params.yaml").write_text("project: cells\nseed: 1\n")
    git("init", "--quiet", cwd=project)
    return project


def test_stages_of_one_laptop_run_share_a_parent(laptop: Path, client: MlflowClient) -> None:
    parents = set()
    for stage in ("teacher", "distill@pico"):
        with tracking.laptop_run(laptop, stage) as child:
            emit(0, loss=1.0)
        run = client.get_run(str(child.run_id))
        assert run.data.metrics == {"loss": 1.0}
        parents.add(run.data.tags["mlflow.parentRunId"])
    assert len(parents) == 1
    assert client.get_run(*parents).info.status == "FINISHED"
    (laptop / "params.yaml").write_text("project: cells\nseed: 2\n")
    with tracking.laptop_run(laptop, "teacher") as child:
        pass
    assert client.get_run(str(child.run_id)).data.tags["mlflow.parentRunId"] not in parents


def test_a_laptop_run_leaves_tracking_to_the_runner_above(laptop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(EVENTS_FILE, "events")
    with tracking.laptop_run(laptop, "teacher") as child:
        assert child.run_id is None


def test_a_laptop_needs_no_tracking(laptop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    with tracking.laptop_run(laptop, "teacher") as child:
        assert child.run_id is None


def test_warnings_name_what_was_lost(warned: list[str]) -> None:
    from alambique.registry.client import forgiving

    with forgiving("log the outputs"):
        raise OSError("disk full")
    assert "could not log the outputs in MLflow, going on without: disk full" in warned[0]
