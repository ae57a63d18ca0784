from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from factories.finished_run import PARAMS, absent, leaderboard, row
from typer.testing import CliRunner

from alambique.cli import app
from alambique.files import write_json

FAR = {"value": -0.005, "low": -0.06, "high": 0.05, "n": 100}
GATES = [
    {"kind": "at_least", "metric": "map50_95", "value": 0.2},
    {"kind": "not_worse_than", "metric": "map50_95", "reference": "champion", "margin": 0.01, "limit": 0.05},
]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({**PARAMS, "gates": GATES}))
    rows = [
        row("pico-onnx-int8", map50_95=0.495, deltas={"champion": FAR}),
        row("pico-openvino-int8"),
        row("champion-onnx", map50_95=0.5),
        absent("openvino"),
    ]
    write_json(tmp_path / "report/leaderboard.json", leaderboard(rows))
    return tmp_path


def explain(project: Path) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["gate", "--project", str(project)])
    return result.exit_code, " ".join(result.output.split())


def test_explaining_prints_every_verdict_with_its_evidence_and_is_no_failure(project: Path) -> None:
    code, text = explain(project)
    assert code == 0
    assert "pico-onnx-int8 rejected" in text
    assert "map50_95 at least 0.2 0.495 0.2 100 passed" in text
    assert "map50_95 not worse than champion 0.495 0.49 [-0.06, +0.05] 100 uncertain_against_champion" in text
    assert "pico-onnx-int8 is rejected: map50_95 not worse than champion: may be" in text
    assert "about 150 test images would tell, 100 are there" in text
    assert "pico-openvino-int8 passed" in text
    assert "first_model" in text
    assert "1 of 2 candidates pass every gate" in text


def test_explaining_uses_the_gates_that_params_ask_for_now(project: Path) -> None:
    (project / "params.yaml").write_text(yaml.safe_dump({**PARAMS, "gates": []}))
    assert "2 of 2 candidates pass every gate" in explain(project)[1]


def test_without_a_leaderboard_it_says_what_to_run(project: Path) -> None:
    (project / "report/leaderboard.json").unlink()
    result = CliRunner().invoke(app, ["gate", "--project", str(project)])
    assert result.exit_code == 65
    assert "leaderboard.json is missing" in result.output
    assert "dvc repro compare" in result.output
