from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from factories.airflow_context import challenger_events, context, deployment

from alambique.airflow.operators.promotion import PromoteApprovedOperator, PromoteOperator, ProposeOperator
from alambique.errors import DataError


def test_announced_challengers_are_promoted_oldest_first_and_the_last_of_a_model_stays(tmp_path: Path) -> None:
    verb = (
        "version = {'candidate': 'c', 'model': 'cells-onnx', 'version': request['tag'], 'sha256': request['by']}\n"
        "result.write_text(json.dumps({'champions': [version]}))"
    )
    task = PromoteOperator(task_id="promote", deployment=deployment(tmp_path, verb), tag="")
    (champion,) = task.answer(context(triggering_asset_events=challenger_events("runs/1", "runs/2"))).champions
    assert champion.version == "runs/2"
    assert champion.sha256 == "cells_promote/asset_triggered__1"


def test_an_event_that_came_by_an_alias_is_promoted_once(tmp_path: Path) -> None:
    tags = str(tmp_path / "tags")
    verb = f"open({tags!r}, 'a').write(request['tag'] + ' '); result.write_text(json.dumps({{'champions': []}}))"
    task = PromoteOperator(task_id="promote", deployment=deployment(tmp_path, verb), tag="")
    task.answer(context(triggering_asset_events=challenger_events("runs/1", "runs/2")))
    assert (tmp_path / "tags").read_text().split() == ["runs/1", "runs/2"]


def test_a_person_is_asked_about_the_newest_announcement_alone(tmp_path: Path) -> None:
    verb = "result.write_text(json.dumps({'tag': request['tag'], 'judgement': '1', 'subject': '', 'body': ''}))"
    task = ProposeOperator(task_id="propose", deployment=deployment(tmp_path, verb), tag="")
    assert task.answer(context(triggering_asset_events=challenger_events("runs/1", "runs/2"))).tag == "runs/2"


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
