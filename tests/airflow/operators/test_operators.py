from __future__ import annotations

import json
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from airflow.sdk import DAG, Asset, AssetAlias, Context
from alambique.airflow.promotion import PromoteApprovedOperator, PromoteOperator, ProposeOperator, RollbackOperator
from factories.stub_interpreter import alive, eventually, interpreter

from alambique.airflow import operators
from alambique.airflow.operators import SnapshotOperator, ref_name
from alambique.config.deployment import Deployment
from alambique.errors import AlambiqueError, DataError
from alambique.git import git


def deployment(folder: Path, verb: str) -> Deployment:
    """One whose ML interpreter does `verb`, lines of Python, whatever it is asked."""
    return Deployment(origin=str(folder / "origin.git"), home=folder, python=interpreter(folder, verb))


def announcements(*tags: str) -> Any:
    """Events of a challenger as Airflow hands them to a run: an alias has each once more, and none is in order."""
    events = [SimpleNamespace(extra={"tag": tag}, timestamp=second) for second, tag in enumerate(tags)]
    return {Asset("cells_challenger"): events[::-1], AssetAlias("cells_challenger"): events}


def context(**values: Any) -> Context:
    dag_run = SimpleNamespace(triggering_user_name=None, dag_id="cells_promote", run_id="asset_triggered__1")
    return cast("Context", {"dag_run": dag_run, "run_id": dag_run.run_id, **values})


def test_killing_the_task_ends_its_verb(tmp_path: Path) -> None:
    verb = f"Path({str(tmp_path / 'pid')!r}).write_text(str(os.getpid())); time.sleep(600)"
    task = RollbackOperator(task_id="rollback", deployment=deployment(tmp_path, verb), model="cells-onnx")

    def kill() -> None:
        assert eventually(lambda: (tmp_path / "pid").exists() and bool((tmp_path / "pid").read_text()))
        task.on_kill()

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(AlambiqueError, match="SIGTERM"):
        task.answer(context())
    killer.join()
    assert not alive(int((tmp_path / "pid").read_text()))


def test_killing_a_task_that_runs_no_verb_does_nothing(tmp_path: Path) -> None:
    RollbackOperator(task_id="rollback", deployment=deployment(tmp_path, ""), model="cells-onnx").on_kill()


def test_announced_challengers_are_promoted_oldest_first_and_the_last_of_a_model_stays(tmp_path: Path) -> None:
    verb = (
        "version = {'candidate': 'c', 'model': 'cells-onnx', 'version': request['tag'], 'sha256': request['by']}\n"
        "result.write_text(json.dumps({'champions': [version]}))"
    )
    task = PromoteOperator(task_id="promote", deployment=deployment(tmp_path, verb), tag="")
    (champion,) = task.answer(context(triggering_asset_events=announcements("runs/1", "runs/2"))).champions
    assert champion.version == "runs/2"
    assert champion.sha256 == "cells_promote/asset_triggered__1"


def test_an_event_that_came_by_an_alias_is_promoted_once(tmp_path: Path) -> None:
    tags = str(tmp_path / "tags")
    verb = f"open({tags!r}, 'a').write(request['tag'] + ' '); result.write_text(json.dumps({{'champions': []}}))"
    task = PromoteOperator(task_id="promote", deployment=deployment(tmp_path, verb), tag="")
    task.answer(context(triggering_asset_events=announcements("runs/1", "runs/2")))
    assert (tmp_path / "tags").read_text().split() == ["runs/1", "runs/2"]


def test_a_person_is_asked_about_the_newest_announcement_alone(tmp_path: Path) -> None:
    verb = "result.write_text(json.dumps({'tag': request['tag'], 'judgement': '1', 'subject': '', 'body': ''}))"
    task = ProposeOperator(task_id="propose", deployment=deployment(tmp_path, verb), tag="")
    assert task.answer(context(triggering_asset_events=announcements("runs/1", "runs/2"))).tag == "runs/2"


@pytest.mark.parametrize(
    ("approval", "by", "why"),
    [
        ({"responded_by_user": {"id": "7", "name": "Ana"}, "params_input": {"why": "lighter"}}, "Ana", "lighter"),
        ({"responded_by_user": {"id": "7", "name": None}, "params_input": {}}, "7", ""),
        (None, "cells_promote/asset_triggered__1", ""),  # the task was marked a success
    ],
)
def test_an_approved_promotion_is_in_the_name_of_who_answered(
    tmp_path: Path, approval: dict[str, Any] | None, by: str, why: str
) -> None:
    verb = (
        "version = dict(candidate=request['tag'], model=request['judgement'], version=request['by'])\n"
        "result.write_text(json.dumps({'champions': [version | {'sha256': request['why']}]}))"
    )
    proposal = {"tag": "runs/1", "judgement": "abc", "subject": "?", "body": "?"}
    here = deployment(tmp_path, verb)
    task = PromoteApprovedOperator(task_id="promote", deployment=here, proposal=proposal, approval=approval)
    (version,) = task.answer(context()).champions
    assert (version.candidate, version.model, version.version, version.sha256) == ("runs/1", "abc", by, why)


def test_a_promotion_without_an_announcement_asks_for_a_tag(tmp_path: Path) -> None:
    task = PromoteOperator(task_id="promote", deployment=deployment(tmp_path, ""), tag="")
    with pytest.raises(DataError, match="tag"):
        task.answer(context(triggering_asset_events={}))


def test_permanent_errors_fail_a_task_for_good() -> None:
    from airflow.sdk.exceptions import AirflowFailException

    with pytest.raises(AirflowFailException, match="DataError: empty"), operators.permanent_errors_fail():
        raise DataError("empty")


@pytest.mark.parametrize(
    "run_id",
    ["scheduled__2026-01-05T00:00:00+00:00", "manual__2026-01-05T10:11:12.131415+00:00_x7", "a..b", "x.lock", "~a^:"],
)
def test_a_runs_name_is_allowed_in_git(run_id: str) -> None:
    git("check-ref-format", f"refs/tags/runs/{ref_name(run_id)}")


def test_a_snapshot_knows_airflows_own_id_of_the_run(tmp_path: Path) -> None:
    fields = {"revision": "", "digest": "", "sources": {}, "params": {}, "lock": {}}
    verb = f"result.write_text(json.dumps({fields!r} | {{'run_id': request['run_id'] + ' ' + request['dag_run']}}))"
    task = SnapshotOperator(task_id="snapshot", deployment=deployment(tmp_path, verb), digest="0")
    assert task.answer(context()).run_id == "asset_triggered__1 asset_triggered__1"


def test_the_stages_fit_into_a_dag_of_ones_own(tmp_path: Path) -> None:
    from factories.airflow_project import lay_out

    from alambique.airflow import AlambiqueTaskGroup, Project

    project = Project.load(lay_out(tmp_path / "project", project="cells", runtimes=["onnx"], int8=["onnx"]))
    with DAG("mine") as dag:
        snapshot = SnapshotOperator(task_id="start", deployment=project.deployment, digest=project.graph.digest)
        group = AlambiqueTaskGroup(project, snapshot.output, group_id="vision")
    assert set(group.results) == set(project.graph.stages)
    assert dag.get_task("vision.pico.distill-0").upstream_task_ids >= {"start", "vision.soft_labels-0"}
    json.dumps([task.deployment for task in dag.tasks])  # templated fields are stored as JSON
