"""Proposals read from a recorded run, as the approval's page shows them."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from factories.finished_run import NAMES, gate_request, judged, leaderboard, record_request, row

from alambique.errors import ConfigurationError, IntegrityError
from alambique.evaluation import leaderboard as leaderboards
from alambique.evaluation.leaderboard import Leaderboard, load
from alambique.files import sha256, write_json
from alambique.git import git
from alambique.messages import Check, Decision, Decisions, PromoteRequest, Proposal, ProposeRequest, RunRequest, Version
from alambique.registry import approval_request
from alambique.registry.approval_request import LIMIT, propose
from alambique.registry.gate_command import GateReport, gate
from alambique.registry.model_versions import register
from alambique.registry.promotion import promote
from alambique.runs.record import record


def record_(request: RunRequest, decisions: Decisions) -> None:
    run = request.run.model_copy(update={"run_id": decisions.run_id})
    record(record_request(request.model_copy(update={"run": run}), decisions))


def propose_(request: RunRequest, run_id: str = "r1") -> Proposal:
    return propose(ProposeRequest(deployment=request.deployment, tag=f"runs/{run_id}"))


def rows(body: str) -> Iterator[list[str]]:
    """The cells of every line of a table."""
    for line in body.splitlines():
        if line.startswith("|") and not line.startswith("|--"):
            yield [cell.strip() for cell in line.strip("|").split(" | ")]


@pytest.fixture
def mlflow_server(tracking_uri: str, tmp_path: Path) -> Iterator[str]:
    """A real server on the test's database."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    serve = ["server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command = [sys.executable, "-m", "mlflow", *serve, "--backend-store-uri", tracking_uri]
    url = f"http://127.0.0.1:{port}"
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, cwd=tmp_path, start_new_session=True)
    try:
        for _ in range(300):
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"{url}/health").close()
                break
            time.sleep(0.3)
        yield url
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


@pytest.fixture
def versions(untracked: RunRequest) -> dict[str, Version]:
    return {version.candidate: version for version in register(untracked).versions}


def test_a_proposal_shows_challengers_beside_champions_and_the_gates_verdicts(
    untracked: RunRequest, tmp_path: Path
) -> None:
    record_(untracked, gate(gate_request(untracked, register(untracked).versions)))
    proposed = propose_(untracked)
    git("clone", "--quiet", "--branch", "runs/r1", untracked.deployment.origin, str(tmp_path / "clone"))
    assert (proposed.tag, proposed.judgement) == ("runs/r1", sha256(tmp_path / "clone" / "decisions.json"))
    assert proposed.subject == (
        "Promote pico-onnx-fp32 to champion of tiny-onnx and pico-openvino-fp32 to champion of tiny-openvino?"
    )
    assert "Run `runs/r1` of tiny, judged on 100 test images." in proposed.body
    shown = list(rows(proposed.body))
    assert ["", "candidate", "mAP50-95", "latency p50, ms", "size, MB"] in [
        [cell.strip("| ") for cell in r] for r in shown
    ]
    assert ["challenger of tiny-onnx", "pico-onnx-fp32", "60.0", "5.00", "2.00"] in shown
    assert ["map50_95 at least 0.2", "0.6", "0.2", "", "passed"] in shown
    assert ["map50_95 not worse than champion", "0.6", "", "", "first_model: there is no champion yet"] in shown
    assert len(proposed.body) < LIMIT


def test_the_champion_stands_below_its_challenger_by_the_name_it_was_promoted_under(tmp_path: Path) -> None:
    board = read_board(tmp_path, row("champion-onnx", student="older", precision="int8", map50_95=0.55), row(NAMES[0]))
    version = Version(candidate=NAMES[0], model="tiny-onnx", version="2", sha256="b" * 64)
    report = GateReport("runs/r1", judged("r1", version), "c" * 64, frozenset())
    assert list(rows("\n".join(approval_request.comparison(report, board))))[1:] == [
        ["challenger of tiny-onnx", "pico-onnx-fp32", "50.0", "5.00", "2.00"],
        ["its champion", "older-onnx-int8", "55.0", "5.00", "2.00"],
    ]


def test_whoever_approves_reads_that_the_teacher_knows_no_more_than_the_control(
    untracked: RunRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    record_(untracked, gate(gate_request(untracked, register(untracked).versions)))
    assert "nothing to distill" not in propose_(untracked).body
    loaded = load

    def with_weak_teacher(path: Path) -> Leaderboard:
        board = loaded(path)
        rows: list[Any] = [row("teacher-main", map50_95=0.219), row("pico-control-0", map50_95=0.245)]
        advantage: Any = {"value": -0.026, "low": -0.041, "high": -0.01, "seeds": 1, "images": 100}
        others = [other for other in board["rows"] if other["kind"] not in {"teacher", "control"}]
        return {**board, "rows": others + rows, "teacher_advantage": {"pico": {"teacher-main": advantage}}}

    monkeypatch.setattr(leaderboards, "load", with_weak_teacher)
    assert (
        "\n\n**The teacher knows no more than the control of pico (mAP50-95 21.9 against 24.5, difference −2.6 "
        "\\[−4.1, −1.0\\]): there is nothing to distill; train the teacher longer, on more labels, or from better "
        "weights.**\n\n| "
    ) in propose_(untracked).body


def read_board(folder: Path, *known: dict[str, Any]) -> Leaderboard:
    write_json(folder / "leaderboard.json", leaderboard(list(known)))
    return load(folder / "leaderboard.json")


def test_what_would_be_refused_is_said_before_anybody_is_asked(
    untracked: RunRequest, versions: dict[str, Version]
) -> None:
    first, second = versions["pico-onnx-fp32"], versions["pico-onnx-int8"]
    record_(untracked, judged("r1", first))
    record_(untracked, judged("r2", second))
    assert "refused" not in propose_(untracked, "r2").body
    promote(PromoteRequest(deployment=untracked.deployment, tag="runs/r1", by="ann"))
    assert "pico-onnx-fp32 is champion of tiny-onnx already." in propose_(untracked, "r1").body
    assert "has changed since: promoting will be refused. Start another run." in propose_(untracked, "r2").body


def test_a_run_without_a_challenger_proposes_nothing(untracked: RunRequest) -> None:
    record_(untracked, judged("r1"))
    assert propose_(untracked).subject == "runs/r1 has no challenger"


def test_a_body_stays_short_and_says_what_it_left_out(untracked: RunRequest, versions: dict[str, Version]) -> None:
    checks = [Check(gate=f"gate {index}", passed=True, reason="passed", explanation="w" * 90) for index in range(25)]
    decisions = judged("r1", versions["pico-onnx-int8"], versions["pico-openvino-int8"])
    longer = [Decision(version=each.version, passed=True, checks=checks) for each in decisions.decisions]
    record_(untracked, decisions.model_copy(update={"decisions": longer}))
    body = propose_(untracked).body
    assert len(body) < LIMIT
    assert "**Gates of pico-onnx-int8**" in body
    assert "verdicts on pico-openvino-int8 stand in `decisions.json` of `runs/r1`" in body


def test_names_of_classes_do_not_break_the_table(untracked: RunRequest, versions: dict[str, Version]) -> None:
    check = Check(gate="ap", passed=False, reason="class_below_floor", explanation="a|b\n<img src=x> [l](u) 0.1")
    version = versions["pico-onnx-int8"]
    decisions = judged("r1", version)
    record_(
        untracked,
        decisions.model_copy(update={"decisions": [Decision(version=version, passed=True, checks=[check])]}),
    )
    line = next(line for line in propose_(untracked).body.splitlines() if "class_below_floor" in line)
    assert line.endswith(r"| class_below_floor: a\|b \<img src=x\> \[l\](u) 0.1 |")


@pytest.mark.slow
def test_the_run_in_mlflow_is_linked_where_there_is_a_server_to_go_to(
    tracked: RunRequest, versions: dict[str, Version], mlflow_server: str
) -> None:
    """A database has no pages."""
    deployment = tracked.deployment
    record_(tracked, judged("r1", versions["pico-onnx-int8"]))
    assert "MLflow" not in propose_(tracked).body
    served = tracked.model_copy(update={"deployment": deployment.model_copy(update={"tracking_uri": mlflow_server})})
    body = propose_(served).body
    assert f"[The run in MLflow]({mlflow_server}/#/experiments/" in body


def test_an_unknown_candidate_is_refused(untracked: RunRequest) -> None:
    record_(
        untracked, judged("r1", Version(candidate="nano-onnx-int8", model="tiny-onnx", version="1", sha256="a" * 64))
    )
    with pytest.raises(IntegrityError, match="has no row nano-onnx-int8"):
        propose_(untracked)
    with pytest.raises(ConfigurationError, match="no tag runs/r9"):
        propose_(untracked, "r9")


def test_another_leaderboard_than_was_judged_is_shown_to_nobody(untracked: RunRequest) -> None:
    versions = register(untracked).versions
    decisions = gate(gate_request(untracked, versions))
    assert len(decisions.leaderboard) == 64
    record_(untracked, decisions.model_copy(update={"run_id": "r1", "leaderboard": "0" * 64}))
    with pytest.raises(IntegrityError, match="the leaderboard of runs/r1 has sha256"):
        propose_(untracked)
