from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from factories.stub_interpreter import alive

from alambique.local.services import AIRFLOW_PARTS, _stop, airflow_environment


def test_secrets_are_made_once_and_for_their_owner_alone(tmp_path: Path) -> None:
    first, second = airflow_environment(tmp_path), airflow_environment(tmp_path)
    assert first == second
    assert len({first["AIRFLOW__API__SECRET_KEY"], first["AIRFLOW__API_AUTH__JWT_SECRET"]}) == 2
    for path in (tmp_path / ".alambique/airflow").glob("*-secret"):
        assert path.stat().st_mode & 0o077 == 0


def test_airflow_listens_on_loopback_and_knows_the_project_alone(tmp_path: Path) -> None:
    environment = airflow_environment(tmp_path)
    assert environment["AIRFLOW__API__HOST"] == "127.0.0.1"
    assert environment["AIRFLOW__CORE__DAGS_FOLDER"] == str(tmp_path / "dags")


def test_a_server_is_stopped_with_all_it_started(tmp_path: Path) -> None:
    code = "import subprocess, sys; print(subprocess.Popen(['sleep', '60']).pid, flush=True); sys.stdin.read()"
    server = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    )
    assert server.stdout is not None
    grandchild = int(server.stdout.readline())
    _stop(server)
    deadline = time.monotonic() + 5
    while alive(grandchild) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert server.poll() is not None
    assert not alive(grandchild)


def test_no_part_of_airflow_serves_logs() -> None:
    parts = {name: options for name, *options in AIRFLOW_PARTS}
    assert parts.keys() == {"api-server", "scheduler", "dag-processor", "triggerer"}
    assert parts["scheduler"] == parts["triggerer"] == ["--skip-serve-logs"]
