"""The DAGs run by `dag.test()`, with a stand-in for the ML interpreter: see verbs.py."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from airflow_project import environment, lay_out

HERE = Path(__file__).parent
UNANSWERABLE = ["benchmark", "compare", "distill@pico-0", "prune@pico", "search", "soft_labels@0", "soft_labels@1"]
"""The first is never reused; the others depend on folders of outs, of which a lock entry does not tell the content."""

RUNS = {
    "first": ("distill", {}),
    "second": ("distill", {"branch": "nothing-passes"}),
    "stale": ("distill", {"branch": "another-pipeline"}),
    "by hand": ("promote", {"tag": "runs/r1"}),
    "tagless": ("promote", {}),
    "rollback": ("rollback", {}),
    "DataError": ("promote", {"tag": "DataError"}),
    "ConfigurationError": ("promote", {"tag": "ConfigurationError"}),
    "TransientError": ("promote", {"tag": "TransientError"}),
}
"""All of them in one process and one project, one after the other: Airflow takes longer to start than they to run."""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("project")
    python = root.with_suffix(".python")
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{HERE / "verbs.py"}" "$@"\n')
    python.chmod(0o755)
    lay_out(root, python=python, project="cells", runtimes=["onnx"], int8=["onnx"])
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
def calls(project: Path, outcomes: dict[str, Any]) -> list[dict[str, str]]:
    """What the verbs were asked, in order."""
    return [json.loads(line) for line in (project / "calls").read_text().splitlines()]


def stages(calls: list[dict[str, str]], branch: str) -> list[str]:
    return sorted(call["stage"] for call in calls if call["verb"] == "run-stage" and call["branch"] == branch)


def test_a_first_run_does_every_stage_once(
    project: Path, outcomes: dict[str, Any], calls: list[dict[str, str]]
) -> None:
    assert outcomes["first"]["state"] == "success"
    assert stages(calls, "main") == sorted(json.loads((project / "pipeline.json").read_text())["stages"])


def test_a_second_run_starts_the_ml_side_only_for_what_the_lock_cannot_answer(
    outcomes: dict[str, Any], calls: list[dict[str, str]]
) -> None:
    assert outcomes["second"]["state"] == "success"
    assert stages(calls, "nothing-passes") == UNANSWERABLE


def test_a_run_whose_dag_was_meanwhile_built_from_another_pipeline_fails(
    outcomes: dict[str, Any], calls: list[dict[str, str]]
) -> None:
    assert outcomes["stale"]["tasks"]["validate"] == {"state": "failed", "tries": 1}
    assert stages(calls, "another-pipeline") == []


def test_a_challenger_is_announced_with_the_runs_tag(outcomes: dict[str, Any]) -> None:
    run_id = re.sub("[:+.]", "-", outcomes["first"]["run_id"])
    assert outcomes["first"]["events"] == [{"tag": f"runs/{run_id}"}]


def test_without_a_challenger_nothing_is_announced(outcomes: dict[str, Any]) -> None:
    assert outcomes["second"]["events"] == []


def test_a_promotion_by_hand_takes_the_given_tag_and_says_who_decided(
    outcomes: dict[str, Any], calls: list[dict[str, str]]
) -> None:
    assert outcomes["by hand"]["state"] == "success"
    (call,) = (call for call in calls if call["tag"] == "runs/r1")
    assert (call["verb"], call["by"]) == ("promote", "dag_test")


def test_a_promotion_with_neither_tag_nor_event_fails_before_any_verb(
    outcomes: dict[str, Any], calls: list[dict[str, str]]
) -> None:
    assert outcomes["tagless"]["state"] == "failed"
    assert all(call["tag"] for call in calls if call["verb"] == "promote")


def test_a_rollback_is_about_one_of_the_projects_models(outcomes: dict[str, Any], calls: list[dict[str, str]]) -> None:
    assert outcomes["rollback"]["state"] == "success"
    assert [call["model"] for call in calls if call["verb"] == "rollback"] == ["cells-onnx"]


@pytest.mark.parametrize(
    ("error", "state", "tries"),
    [("DataError", "failed", 1), ("ConfigurationError", "failed", 1), ("TransientError", "success", 2)],
)
def test_only_errors_that_may_pass_are_retried(
    outcomes: dict[str, Any], calls: list[dict[str, str]], error: str, state: str, tries: int
) -> None:
    assert outcomes[error]["tasks"]["promote"] == {"state": state, "tries": tries}
    assert len([call for call in calls if call["tag"] == error]) == tries
