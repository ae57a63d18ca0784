"""What Kubeflow's steps do, on a real project of tiny stages: the same verbs, keys and lock entries as in Airflow."""

from __future__ import annotations

from pathlib import Path

import pytest
from factories.runner_project import Project

from alambique.errors import ERROR_FILE
from alambique.kubeflow import steps
from alambique.messages import StageResult, pack, unpack
from alambique.pipeline import graph as pipeline


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def test_stages_hand_each_other_their_results(project: Project) -> None:
    run = project.snapshot()
    here, packed, results = project.deployment.model_dump_json(), {}, {}
    for name in (graph := pipeline.read(project.checkout)).stages:
        packed[name], hashes = steps.stage(here, pack(run), name, [packed[each] for each in graph.upstream(name)])
        results[name] = StageResult.model_validate_json(unpack(packed[name]))
        assert hashes == {"key": results[name].key, **{out["path"]: out["md5"] for out in results[name].entry["outs"]}}
    again = project.run(run)  # as Airflow's operators ask for it
    assert {name: (result.key, result.entry) for name, result in again.items()} == {
        name: (result.key, result.entry) for name, result in results.items()
    }
    assert {result.found for result in again.values()} == {"store"}


def test_an_error_ends_the_step(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ERROR_FILE, raising=False)
    run = project.snapshot().model_copy(update={"revision": "0" * 40})
    with pytest.raises(SystemExit) as end:
        steps.stage(project.deployment.model_dump_json(), pack(run), "left", [])
    assert end.value.code not in {0, None}


def test_nothing_is_promoted_without_a_challenger_or_unless_approved() -> None:
    assert steps.promote("{}", "", approved=True) == steps.promote("{}", "runs/r1", approved=False) == ""


def test_mounted_secrets_become_the_environment(tmp_path: Path) -> None:
    (tmp_path / "s3").mkdir()
    (tmp_path / "s3" / "AWS_SECRET_ACCESS_KEY").write_text("x")
    (tmp_path / "s3" / "..data").mkdir()  # Kubernetes' own, behind its links
    assert steps.environment(tmp_path) == {"AWS_SECRET_ACCESS_KEY": "x"}
    assert steps.environment(tmp_path / "none") == {}
