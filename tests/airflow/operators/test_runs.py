from __future__ import annotations

from pathlib import Path

import pytest
from factories.airflow_context import context, deployment

from alambique.airflow.operators.runs import SnapshotOperator, ref_name
from alambique.git import git


@pytest.mark.parametrize(
    "run_id",
    ["scheduled__2026-01-05T00:00:00+00:00", "manual__2026-01-05T10:11:12.131415+00:00_x7", "a..b", "x.lock", "~a^:"],
)
def test_a_runs_name_is_allowed_in_git(run_id: str) -> None:
    git("check-ref-format", f"refs/tags/runs/{ref_name(run_id)}")


def test_two_runs_never_share_a_name() -> None:
    ids = ["a:b", "a+b", "a-b", "a.b", "x" * 300 + "1", "x" * 300 + "2"]
    assert len({ref_name(run_id) for run_id in ids}) == len(ids)
    assert ref_name("asset_triggered__1") == "asset_triggered__1"
    assert max(len(ref_name(run_id)) for run_id in ids) < 200


def test_a_snapshot_knows_airflows_own_id_of_the_run(tmp_path: Path) -> None:
    fields = {"revision": "", "digest": "", "sources": {}, "params": {}, "lock": {}}
    verb = f"result.write_text(json.dumps({fields!r} | {{'run_id': request['run_id'] + ' ' + request['dag_run']}}))"
    task = SnapshotOperator(task_id="snapshot", deployment=deployment(tmp_path, verb), digest="0")
    assert task.answer(context()).run_id == "asset_triggered__1 asset_triggered__1"
