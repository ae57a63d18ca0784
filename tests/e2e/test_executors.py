"""One project under LocalExecutor, and under CeleryExecutor with two workers that share no disk: equal results."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from factories.airflow_cluster import Servers, airflow, services
from tests.e2e.test_main_job import PARAMS

from alambique.demo.digits import Scenes
from alambique.git import git

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]

RESOURCES = {"teacher": {"queue": "training"}, "distill": {"queue": "training"}}
MEASURED_TIME = {"benchmark", "compare"}
"""Stages whose results hold latencies."""


def lay_out(folder: Path, servers: Servers, resources: dict[str, Any]) -> None:
    """A project in a repository on the git server, its data on S3."""
    Scenes(train=24, val=8, test=8, unlabelled=8, size=64, digits=2).write(folder / "scenes")
    (folder / "params.yaml").write_text(yaml.safe_dump(PARAMS))
    project, origin = folder / "tiny", servers.environment["ALAMBIQUE_ORIGIN"]
    init = [sys.executable, "-m", "alambique", "init", project, "--data", folder / "scenes", "--params"]
    places = [folder / "params.yaml", "--origin", origin, "--remote", "s3://bucket/dvc"]
    subprocess.run([*init, *places], check=True, env=servers.environment)
    deployment = yaml.safe_load((project / "alambique.yaml").read_text())
    (project / "alambique.yaml").write_text(yaml.safe_dump({**deployment, "resources": resources}))
    git("commit", "--quiet", "--all", "--message", "Give trainings a queue", cwd=project)
    git("push", "--quiet", origin, "main", cwd=project)


def run(folder: Path, workers: dict[str, list[str]]) -> dict[str, Any]:
    """The lock entries of a first run, once its challenger has been promoted."""
    with services(folder) as servers:
        lay_out(folder, servers, RESOURCES if workers else {})
        with airflow(servers, workers) as server:
            for dag in ("tiny_distill", "tiny_promote"):
                server.eventually(lambda dag=dag: server.client.get(f"/dags/{dag}").is_success, f"{dag} to be parsed")
            first = server.trigger("tiny_distill", {})
            server.eventually(lambda: server.runs("tiny_distill")[first] in {"success", "failed"}, first, 1200)
            tasks = server.tasks("tiny_distill", first)
            assert set(tasks.values()) <= {"success", "skipped"}, tasks
            server.eventually(lambda: "success" in server.runs("tiny_promote").values(), "the promotion")
        clone = folder / "clone"
        git("clone", "--quiet", servers.environment["ALAMBIQUE_ORIGIN"], str(clone))
        (tag,) = git("tag", "--list", "runs/*", cwd=clone).split()
        entries: dict[str, Any] = yaml.safe_load(git("show", f"{tag}:dvc.lock", cwd=clone))["stages"]
        return entries


def test_every_executor_comes_to_the_same_results(tmp_path_factory: pytest.TempPathFactory) -> None:
    local = run(tmp_path_factory.mktemp("local"), {})
    apart = tmp_path_factory.mktemp("celery")
    celery = run(apart, {"first": ["default"], "second": ["default", "training"]})
    assert local.keys() == celery.keys()
    assert {stage for stage in local if local[stage] != celery[stage]} <= MEASURED_TIME
    for worker in ("first", "second"):
        assert any((apart / worker / "alambique" / "cache").rglob("*")), f"the worker {worker} did nothing"
