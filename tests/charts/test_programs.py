"""The two programs that the chart's pods run."""

from __future__ import annotations

import base64
import os
import runpy
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from factories.helm import CHART
from sqlalchemy import create_engine, text

HEADS = {"alembic_version": "dc11669786a5", "alembic_version_auth": "f1a2b3c4d5e6"}
"""Revisions of the MLflow that the lock names."""


@pytest.fixture(scope="module")
def database() -> dict[str, Any]:
    return runpy.run_path(str(CHART / "files" / "mlflow_database.py"), run_name="mlflow_database")


def stamp(url: str, revisions: dict[str, str]) -> None:
    """Write revisions as MLflow's migrations do."""
    engine = create_engine(url)
    with engine.begin() as connection:
        for table, revision in revisions.items():
            connection.execute(text(f"CREATE TABLE {table} (version_num VARCHAR(32) NOT NULL)"))
            connection.execute(text(f"INSERT INTO {table} VALUES ('{revision}')"))
    engine.dispose()


@pytest.mark.parametrize(
    ("revisions", "problem"),
    [
        ({}, "alembic_version has revision None"),
        ({"alembic_version": HEADS["alembic_version"]}, "alembic_version_auth has revision None"),
        (HEADS | {"alembic_version": "451aebb31d03"}, "alembic_version has revision 451aebb31d03, MLflow "),
        (HEADS, None),
    ],
    ids=["empty", "without users", "older", "up to date"],
)
def test_a_database_is_behind_until_both_schemas_are_those_of_the_image(
    database: dict[str, Any], tmp_path: Path, revisions: dict[str, str], problem: str | None
) -> None:
    url = f"sqlite:///{tmp_path / 'mlflow.db'}"
    stamp(url, revisions)
    found = database["behind"](url)
    assert found is None if problem is None else found.startswith(problem)


def test_a_server_that_cannot_be_reached_is_waited_for_and_given_up(
    database: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(database["main"].__globals__, "SECONDS", 0)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    for verb in ("wait", "migrate"):
        with pytest.raises(SystemExit, match="gave up after 0 seconds: no connection"):
            database["main"](verb, f"sqlite:///{tmp_path / 'missing' / 'mlflow.db'}")


def test_only_migrate_writes(database: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"sqlite:///{tmp_path / 'mlflow.db'}"
    commands: list[list[str]] = []

    def run(command: list[str], check: bool) -> None:
        assert check
        commands.append(command[1:])
        if len(commands) == 2:
            stamp(url, HEADS)

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setitem(database["main"].__globals__, "SECONDS", 0)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    with pytest.raises(SystemExit, match="gave up"):
        database["main"]("wait", url)
    assert commands == []
    database["main"]("migrate", url)
    database["main"]("migrate", url)
    assert commands == [
        ["-m", "mlflow", "db", "upgrade", url],
        ["-m", "mlflow.server.auth", "db", "upgrade", "--url", url],
    ]


@pytest.fixture
def answering() -> Iterator[Callable[[dict[bool, int]], str]]:
    """Starts a server that answers /health, and the rest by whether a user asks."""
    servers = []

    def start(statuses: dict[bool, int]) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                user = self.headers["Authorization"] == "Basic " + base64.b64encode(b"stages:word").decode()
                self.send_response(200 if self.path == "/health" else statuses[user])
                self.end_headers()

            def log_message(self, *arguments: object) -> None:
                """Say nothing."""

        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("statuses", "message"),
    [
        ({True: 200, False: 401}, None),
        ({True: 200, False: 200}, "as nobody answered 200, not 401"),
        ({True: 401, False: 401}, "as the stages' user answered 401, not 200"),
    ],
    ids=["authenticated", "open to everybody", "wrong password"],
)
def test_helm_test_finds_a_server_that_is_open_or_refuses_stages(
    answering: Callable[[dict[bool, int]], str], statuses: dict[bool, int], message: str | None
) -> None:
    variables = {"MLFLOW_TRACKING_USERNAME": "stages", "MLFLOW_TRACKING_PASSWORD": "word"}
    done = subprocess.run(
        [sys.executable, str(CHART / "files" / "mlflow_answers.py")],
        env={**os.environ, **variables, "MLFLOW_TRACKING_URI": answering(statuses)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == (1 if message else 0)
    assert (message or "MLflow answers") in done.stdout + done.stderr
