"""The DAGs run by `dag.test()`, with a stand-in for the ML interpreter: see verbs.py."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from factories.airflow_project import environment, lay_out, make_origin, stand_in

from alambique.pipeline import graph as pipeline

HERE = Path(__file__).parent
RUNS = {
    "first": ("distill", {}),
    "nothing new": ("distill", {}),
    "forced": ("distill", {"force": True, "branch": "nothing-passes"}),
    "stale": ("distill", {"branch": "another-pipeline"}),
    "by hand": ("promote", {"tag": "runs/r1"}),
    "another champion": ("distill", {"branch": "nothing-passes"}),
    "tagless": ("promote", {}),
    "rollback": ("rollback", {"why": "flicker"}),
    "DataError": ("promote", {"tag": "DataError"}),
    "ConfigurationError": ("promote", {"tag": "ConfigurationError"}),
    "TransientError": ("promote", {"tag": "TransientError"}),
    "drift": ("watch_drift", {}),
    "no drift": ("watch_drift", {}),
    "ingest": ("ingest", {}),
    "nothing to ingest": ("ingest", {}),
    "new data": ("distill", {}),
}
"""All of them in one process and one project, one after the other: Airflow takes longer to start than they to run."""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("project")
    places = {"arrivals": str(root / "new"), "production": str(root / "field"), "releases": "s3://lab/out"}
    python = stand_in(tmp_path_factory.mktemp("python"))
    lay_out(root, python=python, deployment=places, project="cells", runtimes=["onnx"], int8=["onnx"])
    make_origin(root)
    for name in ("new/1.png", "field/drifted.png"):
        (root / name).parent.mkdir()
        (root / name).touch()
    dags = root / "dags" / "promote.py"
    at_once = "PromoteDag(project, default_args={'retry_delay': 0})"
    dags.write_text(dags.read_text().replace("PromoteDag(project)", at_once))
    return root


@pytest.fixture(scope="module")
def outcomes(project: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What came of each of RUNS."""
    runs = json.dumps([(f"cells_{dag}", conf) for dag, conf in RUNS.values()])
    done = subprocess.run(
        [sys.executable, HERE / "run_dags.py", project / "dags", runs],
        env=environment(tmp_path_factory.mktemp("airflow"), project),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return dict(zip(RUNS, json.loads(done.stdout.splitlines()[-1]), strict=True))


@pytest.fixture(scope="module")
def calls(project: Path, outcomes: dict[str, Any]) -> list[dict[str, Any]]:
    """What the verbs were asked, in order."""
    return [json.loads(line) for line in (project / "calls").read_text().splitlines()]


def unanswerable(project: Path) -> set[str]:
    """Stages that are never reused, or depend on folders of outs, of which a lock entry does not tell the content."""
    graph = pipeline.read(project)
    known = graph.producers.keys() | graph.sources
    return {name for name, stage in graph.stages.items() if stage.always_changed or not known.issuperset(stage.deps)}


def stages(calls: list[dict[str, Any]], run: str) -> list[str]:
    """The stages that the run named so in RUNS did, in order."""
    of_runs: list[list[str]] = []
    for call in calls:
        if call["verb"] == "snapshot":
            of_runs.append([])
        elif call["verb"] == "run-stage":
            of_runs[-1].append(call["stage"])
    distilled = [name for name, (dag, _) in RUNS.items() if dag == "distill"]
    return sorted(of_runs[distilled.index(run)])


def test_a_first_run_does_every_stage_once(
    project: Path, outcomes: dict[str, Any], calls: list[dict[str, Any]]
) -> None:
    assert outcomes["first"]["state"] == "success"
    assert stages(calls, "first") == sorted(json.loads((project / "pipeline.json").read_text())["stages"])


def test_a_run_for_which_nothing_changed_succeeds_without_doing_anything(
    outcomes: dict[str, Any], calls: list[dict[str, Any]]
) -> None:
    assert outcomes["nothing new"]["state"] == "success"
    assert stages(calls, "nothing new") == []
    done = {name for name, task in outcomes["nothing new"]["tasks"].items() if task["state"] != "skipped"}
    assert done == {"cooldown", "snapshot", "changes", "no_new_data", "end"}


def test_a_run_that_is_forced_starts_the_ml_side_only_for_what_the_lock_cannot_answer(
    project: Path, outcomes: dict[str, Any], calls: list[dict[str, Any]]
) -> None:
    assert outcomes["forced"]["state"] == "success"
    assert outcomes["forced"]["tasks"]["no_new_data"]["state"] == "skipped"
    assert stages(calls, "forced") == sorted(unanswerable(project))


def test_another_champion_makes_work_for_those_that_compare_with_it(
    project: Path, outcomes: dict[str, Any], calls: list[dict[str, Any]]
) -> None:
    assert outcomes["another champion"]["state"] == "success"
    assert stages(calls, "another champion") == sorted(unanswerable(project) | {"evaluate_champion@onnx"})


def test_new_data_makes_a_new_run(outcomes: dict[str, Any], calls: list[dict[str, Any]]) -> None:
    assert outcomes["new data"]["state"] == "success"
    assert {"validate", "teacher@main", "distill@pico-0"} <= set(stages(calls, "new data"))


def test_a_run_whose_dag_was_meanwhile_built_from_another_pipeline_fails(
    outcomes: dict[str, Any], calls: list[dict[str, Any]]
) -> None:
    assert outcomes["stale"]["tasks"]["changes"] == {"state": "failed", "tries": 1}
    assert stages(calls, "stale") == []


def test_data_that_joined_is_announced_with_its_revision(outcomes: dict[str, Any]) -> None:
    assert outcomes["ingest"]["events"] == [{"revision": "2" * 40, "batch": "b1"}]


@pytest.mark.parametrize("run", ["nothing to ingest", "no drift"])
def test_that_nothing_came_or_drifted_is_a_quiet_success(outcomes: dict[str, Any], run: str) -> None:
    assert (outcomes[run]["state"], outcomes[run]["events"]) == ("success", [])


def test_drift_that_joined_is_announced_with_its_reasons(outcomes: dict[str, Any]) -> None:
    expected = {"revision": "2" * 40, "report": "report.html", "signals": ["embedding_mmd"]}
    assert outcomes["drift"]["events"] == [expected]


def test_a_challenger_is_announced_with_the_runs_tag(outcomes: dict[str, Any]) -> None:
    run_id = re.sub("[:+.]", "-", outcomes["first"]["run_id"])
    (event,) = outcomes["first"]["events"]
    assert re.fullmatch(rf"runs/{run_id}-[0-9a-f]{{8}}", event["tag"])


def test_without_a_challenger_nothing_is_announced(outcomes: dict[str, Any]) -> None:
    assert outcomes["forced"]["events"] == []


def test_a_promotion_by_hand_takes_the_given_tag_and_says_who_decided(
    outcomes: dict[str, Any], calls: list[dict[str, Any]]
) -> None:
    assert outcomes["by hand"]["state"] == "success"
    (call,) = (call for call in calls if call["tag"] == "runs/r1")
    assert (call["verb"], call["by"]) == ("promote", "dag_test")


def test_a_promotion_with_neither_tag_nor_event_fails_before_any_verb(
    outcomes: dict[str, Any], calls: list[dict[str, Any]]
) -> None:
    assert outcomes["tagless"]["state"] == "failed"
    assert all(call["tag"] for call in calls if call["verb"] == "promote")


def test_a_new_champion_is_published(outcomes: dict[str, Any], calls: list[dict[str, Any]]) -> None:
    assert outcomes["by hand"]["tasks"]["publish"]["state"] == "success"
    by_hand = next(number for number, call in enumerate(calls) if call["tag"] == "runs/r1")
    assert (calls[by_hand + 1]["verb"], calls[by_hand + 1]["models"]) == ("publish", ["cells-onnx"])


def test_a_rollback_is_about_one_of_the_projects_models_has_a_reason_and_is_published(
    outcomes: dict[str, Any], calls: list[dict[str, Any]]
) -> None:
    assert {name: task["state"] for name, task in outcomes["rollback"]["tasks"].items()} == {
        "rollback": "success",
        "publish": "success",
    }
    (call,) = (call for call in calls if call["verb"] == "rollback")
    assert (call["model"], call["why"]) == ("cells-onnx", "flicker")


@pytest.mark.parametrize(
    ("error", "state", "tries"),
    [("DataError", "failed", 1), ("ConfigurationError", "failed", 1), ("TransientError", "success", 2)],
)
def test_only_errors_that_may_pass_are_retried(
    outcomes: dict[str, Any], calls: list[dict[str, Any]], error: str, state: str, tries: int
) -> None:
    assert outcomes[error]["tasks"]["promote"] == {"state": state, "tries": tries}
    assert len([call for call in calls if call["tag"] == error]) == tries
