from __future__ import annotations

import re
from pathlib import Path

import pytest
from factories.airflow_project import lay_out
from fastapi.testclient import TestClient

from alambique.git import git
from alambique.registry.ledger import Entry, Ledger, State


def entry(version: str, by: str, why: str = "") -> Entry:
    said = {"digest": "0" * 64, "gate_digest": "1" * 64, "by": by, "why": why}
    return Entry(model="cells-onnx", version=version, candidate="pico-onnx-int8", tag=f"runs/r{version}", **said)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = lay_out(tmp_path / "project", project="cells")
    git("init", "--quiet", "--bare", str(root / "origin.git"))
    monkeypatch.setenv("AIRFLOW__ALAMBIQUE__PROJECTS", str(root))
    return root


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> TestClient:
    """The page for somebody whom Airflow has let in."""
    from airflow.api_fastapi.core_api.security import get_user

    from alambique.airflow.plugin import champions

    class Anybody:
        def is_authorized_view(self, **_: object) -> bool:
            return True

    monkeypatch.setattr("airflow.api_fastapi.core_api.security.get_auth_manager", Anybody)
    monkeypatch.setitem(champions.app.dependency_overrides, get_user, lambda: None)
    return TestClient(champions.app)


def test_the_page_shows_who_is_champion_and_who_was(project: Path, page: TestClient) -> None:
    ledger = Ledger(str(project / "origin.git"), "cells-onnx")
    first = ledger.move(State(entry("1", "ana")), None, "first")
    ledger.move(State(entry("2", "<b>eve</b>", "lighter"), first.champion), first.sha, "second")
    text = page.get("/champions").text
    assert "pico-onnx-int8, version 2" in text
    assert "runs/r2" in text
    assert re.search(r"<td>20\d\d-\d\d-\d\d \d\d:\d\d</td><td>lighter</td>", text)
    assert "pico-onnx-int8, version 1" in text
    assert "cells-openvino</td><td>none yet" in text
    assert "&lt;b&gt;eve&lt;/b&gt;" in text
    assert "<b>eve" not in text


def test_a_ledger_out_of_reach_is_said_in_its_row(project: Path, page: TestClient) -> None:
    (project / "origin.git" / "HEAD").unlink()
    answer = page.get("/champions")
    assert answer.status_code == 200
    assert "Error: " in answer.text


def test_a_stranger_sees_nothing(project: Path) -> None:
    from alambique.airflow.plugin import champions

    assert TestClient(champions.app).get("/champions").status_code == 401


def test_a_ledger_of_another_version_is_said_in_its_row(project: Path, page: TestClient, tmp_path: Path) -> None:
    ledger = Ledger(str(project / "origin.git"), "cells-onnx")
    state = ledger.move(State(entry("1", "ana")), None, "first")
    git("clone", "--quiet", "--no-checkout", ledger.origin, str(tmp_path / "clone"))
    git("fetch", "--quiet", "origin", str(state.sha), cwd=tmp_path / "clone")
    git("checkout", "--quiet", "FETCH_HEAD", cwd=tmp_path / "clone")
    path = tmp_path / "clone/ledger.json"
    path.write_text(path.read_text().replace('"tag"', '"colour": "red", "tag"'))
    git("commit", "--quiet", "--all", "--message", "edit", cwd=tmp_path / "clone")
    git("push", "--quiet", "origin", f"HEAD:{ledger.ref}", cwd=tmp_path / "clone")
    answer = page.get("/champions")
    assert answer.status_code == 200
    assert "IntegrityError: the ledger refs/alambique/cells-onnx" in answer.text
