from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from airflow.sdk import Context
from airflow.sdk.exceptions import TaskDeferred

from alambique.airflow.operators.retraining import CooldownOperator, changed, last_lock_commit
from alambique.config.deployment import Deployment
from alambique.errors import AlambiqueError
from alambique.git import git
from alambique.messages import Run
from alambique.pipeline.graph import Graph, Stage

RECORDED = datetime(2026, 1, 5, 12, tzinfo=UTC)


@pytest.fixture
def origin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project's repository: a run recorded at RECORDED, and a commit of a person a day later, without a run."""
    work = tmp_path / "work"
    git("init", "--quiet", "--initial-branch=main", str(work))
    for day, (name, subject) in enumerate((("dvc.lock", "Record run r1"), ("README.md", "Explain"))):
        monkeypatch.setenv("GIT_COMMITTER_DATE", (RECORDED + timedelta(days=day)).isoformat())
        (work / name).write_text(subject)
        git("add", name, cwd=work)
        git("commit", "--quiet", "--message", subject, cwd=work)
    git("tag", "runs/r1", "HEAD~1", cwd=work)
    git("branch", "by-hand", "HEAD", cwd=work)
    git("clone", "--quiet", "--bare", str(work), str(tmp_path / "origin.git"))
    return tmp_path / "origin.git"


def cooldown(origin: Path, hours: float = 24) -> CooldownOperator:
    here = Deployment(origin=str(origin), home=origin.parent)
    return CooldownOperator(task_id="cooldown", deployment=here, hours=hours)


def started_by(run_type: str) -> Context:
    return cast("Context", {"dag_run": SimpleNamespace(run_type=run_type)})


def test_a_cooldown_counts_from_the_last_recorded_run(origin: Path) -> None:
    task = cooldown(origin)
    over = RECORDED + timedelta(hours=24)
    assert task.until(RECORDED + timedelta(hours=1)) == over
    assert task.until(over) is None
    assert task.until(over + timedelta(days=9)) is None


def test_a_clock_that_is_behind_the_last_run_waits_no_longer_than_the_cooldown(origin: Path) -> None:
    now = RECORDED - timedelta(days=300)
    assert cooldown(origin).until(now) == now + timedelta(hours=24)


def test_before_any_run_there_is_nothing_to_cool_down_from(tmp_path: Path) -> None:
    git("init", "--quiet", "--initial-branch=main", str(tmp_path / "work"))
    git("commit", "--quiet", "--allow-empty", "--message", "Begin", cwd=tmp_path / "work")
    assert cooldown(tmp_path / "work").until(RECORDED) is None


def test_a_branch_that_is_not_there_is_named(origin: Path) -> None:
    task = cooldown(origin)
    task.deployment["branch"] = "gone"
    with pytest.raises(AlambiqueError, match="refs/heads/gone"):
        task.until(RECORDED)


def test_a_run_that_events_started_waits_in_the_triggerer(origin: Path) -> None:
    age = datetime.now(UTC) - RECORDED
    with pytest.raises(TaskDeferred) as deferred:
        cooldown(origin, hours=age.total_seconds() / 3600 + 1).execute(started_by("asset_triggered"))
    path, arguments = deferred.value.trigger.serialize()
    assert path.endswith("DateTimeTrigger")
    assert arguments["end_from_trigger"]
    assert timedelta(minutes=55) < arguments["moment"] - datetime.now(UTC) <= timedelta(hours=1)


@pytest.mark.parametrize("run_type", ["scheduled", "manual"])
def test_other_runs_do_not_wait(origin: Path, run_type: str) -> None:
    cooldown(origin, hours=1e6).execute(started_by(run_type))


def test_a_lock_is_known_to_be_of_one_run_by_its_tag(origin: Path) -> None:
    assert last_lock_commit(str(origin), "refs/heads/main") == (RECORDED, True)
    git("--git-dir", str(origin), "tag", "--delete", "runs/r1")
    git("--git-dir", str(origin), "tag", "data/r1", "main~1")
    assert last_lock_commit(str(origin), "refs/heads/by-hand") == (RECORDED, False)


GRAPH = Graph.of(
    {
        stage.name: stage
        for stage in (
            Stage(name="labels", cmd="label", deps=("data",), outs=("labels/0",), params={"params.yaml": ("k",)}),
            Stage(name="train", cmd="train", deps=("labels",), outs=("model",)),
            Stage(name="race", cmd="race", deps=("model", "champion"), outs=("times",), always_changed=True),
            Stage(name="report", cmd="report", deps=("times",), outs=("page",)),
        )
    }
)
"""`train` depends on a folder, `race` always runs."""


def made(sources: dict[str, str], k: int = 1) -> Run:
    """A run at whose commit the lock holds what a run made from `data` 1, `champion` 1 and k = 1."""
    hashes = {"data": "1", "champion": "1", "labels": "a.dir", "labels/0": "a", "model": "b", "times": "c", "page": "d"}
    lock = {
        name: {
            "cmd": stage.cmd,
            "deps": [{"path": path, "md5": hashes[path]} for path in stage.deps],
            "params": {file: dict.fromkeys(keys, 1) for file, keys in stage.params.items()},
            "outs": [{"path": path, "md5": hashes[path]} for path in stage.outs],
        }
        for name, stage in GRAPH.stages.items()
    }
    return Run(
        run_id="r",
        revision="0",
        digest=GRAPH.digest,
        sources={path: {"md5": value} for path, value in sources.items()},
        params={
            name: {file: dict.fromkeys(keys, k) for file, keys in s.params.items()} for name, s in GRAPH.stages.items()
        },
        lock=lock,
    )


@pytest.mark.parametrize(
    ("sources", "k", "expected"),
    [
        ({"data": "1", "champion": "1"}, 1, []),
        ({"data": "2", "champion": "1"}, 1, ["labels", "train", "race", "report"]),
        ({"data": "1", "champion": "1"}, 2, ["labels", "train", "race", "report"]),
        ({"data": "1", "champion": "2"}, 1, ["race", "report"]),
    ],
    ids=["nothing", "data", "parameter", "champion"],
)
def test_what_changed_is_what_depends_on_it(sources: dict[str, str], k: int, expected: list[str]) -> None:
    assert changed(GRAPH, made(sources, k), recorded=True) == expected


def test_a_stage_without_an_entry_must_run_and_so_must_what_follows(tmp_path: Path) -> None:
    run = made({"data": "1", "champion": "1"})
    lock = {name: entry for name, entry in run.lock.items() if name != "race"}
    assert changed(GRAPH, run.model_copy(update={"lock": lock}), recorded=True) == ["race", "report"]


def test_an_entry_whose_outs_are_others_must_be_made_again(tmp_path: Path) -> None:
    run = made({"data": "1", "champion": "1"})
    lock: dict[str, Any] = json.loads(json.dumps(run.lock))
    lock["labels"]["outs"] = []
    assert changed(GRAPH, run.model_copy(update={"lock": lock}), recorded=True) == list(GRAPH.stages)


def test_what_depends_on_a_folder_is_certain_only_in_the_lock_of_a_run() -> None:
    assert changed(GRAPH, made({"data": "1", "champion": "1"}), recorded=False) == ["train", "race", "report"]
