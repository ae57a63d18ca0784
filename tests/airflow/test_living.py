"""The whole way with a real scheduler and triggerer: a dropped file ends as a champion, because a person said so.

Only the ML side is a stand-in: see verbs.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from factories.airflow_project import lay_out, make_origin, stand_in
from tests.airflow.servers import Airflow, serve

pytestmark = pytest.mark.slow

TIMEOUT = 90.0
"""Seconds in which a person must answer."""

PROMOTE = """
from pathlib import Path

from airflow.sdk import BaseNotifier

from alambique.airflow import PromoteDag

root = Path(__file__).resolve().parents[1]


class Notifier(BaseNotifier):
    template_fields = ("text",)

    def __init__(self, text):
        super().__init__()
        self.text = text

    def notify(self, context):
        with (root / "told").open("a") as told:
            told.write(self.text)


asked = Notifier("{{ task.subject }} {{ task.generate_link_to_ui(task_instance=ti) }}\\n")
promote = PromoteDag(root, notifiers=[asked])
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("project")
    python = stand_in(tmp_path_factory.mktemp("python"))
    asks = {"promotion": {"policy": "approval", "timeout_hours": TIMEOUT / 3600}, "retraining": {"cooldown_hours": 0.0}}
    places = {"arrivals": str(root / "new"), "releases": "s3://lab/out"}
    lay_out(root, python=python, deployment=places, project="cells", runtimes=["onnx"], int8=[], **asks)
    make_origin(root)
    (root / "dags" / "promote.py").write_text(PROMOTE)
    ingest = root / "dags" / "ingest.py"
    ingest.write_text(ingest.read_text().replace(".parents[1])", ".parents[1], interval=1)"))
    return root


@pytest.fixture(scope="module")
def airflow(project: Path) -> Iterator[Airflow]:
    with serve(project) as airflow:
        airflow.eventually(lambda: airflow.client.get("/dags/cells_promote").is_success, "the DAGs to be parsed")
        yield airflow


@pytest.fixture(scope="module")
def refused(airflow: Airflow) -> str:
    return airflow.trigger("cells_promote", {"tag": "runs/refused"})


@pytest.fixture(scope="module")
def unanswered(airflow: Airflow) -> str:
    return airflow.trigger("cells_promote", {"tag": "runs/unanswered"})


def calls(project: Path, verb: str) -> list[dict[str, Any]]:
    lines = (project / "calls").read_text().splitlines()
    return [call for line in lines if (call := json.loads(line))["verb"] == verb]


def promoted(project: Path) -> list[str]:
    """The tags of the runs whose challengers were promoted."""
    return [call["tag"] for call in calls(project, "promote")]


def test_several_promotions_ask_at_a_time_and_a_no_leaves_the_champion_alone(
    project: Path, airflow: Airflow, unanswered: str, refused: str
) -> None:
    airflow.waiting("cells_promote", unanswered)
    airflow.waiting("cells_promote", refused)
    airflow.respond("cells_promote", refused, "Reject", "heavier")
    tasks = airflow.ended("cells_promote", refused)
    assert (tasks["approve"], tasks["promote"], tasks["publish"]) == ("success", "skipped", "skipped")
    assert airflow.runs("cells_promote")[refused] == "success"
    assert "runs/refused" not in promoted(project)


def test_a_dropped_file_becomes_a_champion_once_a_person_approves(project: Path, airflow: Airflow) -> None:
    (project / "staged.png").touch()
    (project / "new").mkdir()
    (project / "staged.png").rename(project / "new" / "1.png")

    distill = started_by_an_event(airflow, "cells_distill")
    # The task's event starts the next run before the scheduler ends this one.
    airflow.eventually(lambda: [*airflow.runs("cells_ingest").values()] == ["success"], "the ingestion to end")
    assert (project / "dataset" / "1.png").exists()
    assert airflow.ended("cells_distill", distill)["record"] == "success"

    promote = started_by_an_event(airflow, "cells_promote")
    airflow.waiting("cells_promote", promote)
    asked = airflow.get(f"/dags/cells_promote/dagRuns/{promote}/taskInstances/approve/-1/hitlDetails")
    tag = calls(project, "propose")[-1]["tag"]
    assert asked["subject"] == f"Promote {tag}?"
    assert "{{ 1 + 1 }}" in asked["body"]
    assert f"{asked['subject']} {airflow.client.base_url.join('/dags/cells_promote')}" in (project / "told").read_text()
    assert tag not in promoted(project)

    airflow.respond("cells_promote", promote, "Approve", "lighter")
    assert set(airflow.ended("cells_promote", promote).values()) == {"success"}
    (call,) = (call for call in calls(project, "promote") if call["tag"] == tag)
    assert (call["by"], call["why"], call["judgement"]) == ("ana", "lighter", "1" * 64)
    assert [call["models"] for call in calls(project, "publish")] == [["cells-onnx"]]


def test_no_answer_in_time_is_a_no(project: Path, airflow: Airflow, unanswered: str) -> None:
    tasks = airflow.ended("cells_promote", unanswered)
    assert (tasks["approve"], tasks["promote"], tasks["publish"]) == ("success", "skipped", "skipped")
    assert airflow.runs("cells_promote")[unanswered] == "success"
    assert "runs/unanswered" not in promoted(project)


def started_by_an_event(airflow: Airflow, dag: str) -> str:
    """The first run of a DAG that an asset's event started."""
    found: list[str] = []

    def look() -> bool:
        found.extend(run for run in airflow.runs(dag) if run.startswith("asset_triggered__"))
        return bool(found)

    airflow.eventually(look, f"an event to start {dag}")
    return found[0]
