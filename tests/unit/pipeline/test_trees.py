"""Lists of files on the DVC remote that somebody else wrote: their own hashes are right, and their paths are not."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from factories.runner_project import Project, stage

from alambique.errors import AlambiqueError, IntegrityError
from alambique.pipeline.dvc_repository import cloned, opened
from alambique.pipeline.transfer import checkout

CHAIN = {"left": stage("left", "parts/left", "data")}
EVIL = hashlib.md5(b"evil").hexdigest()
PATHS = ["../../../evil", "/tmp/evil", "a/../../evil", "a//b", "", ".", "a/", "x\0y"]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = Project(tmp_path / "project", CHAIN)
    project.snapshot()
    return project


def put(project: Project, content: bytes, suffix: str = "") -> str:
    """An object of the remote under its own hash."""
    value = hashlib.md5(content).hexdigest() + suffix
    path = project.object(value)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return value


def check_out(project: Project, value: Any) -> list[str]:
    """What lies around the workspace after somebody else's hash was checked out in it."""
    with cloned(project.deployment, "main", "test") as workspace, opened(workspace) as repo:
        before = set(workspace.parent.rglob("evil"))
        try:
            checkout(repo, {"data": value})
        finally:
            assert set(workspace.parent.rglob("evil")) == before
            assert not Path("/tmp/evil").exists()
            assert not (workspace / "data").exists()
    return []


@pytest.mark.parametrize("path", PATHS)
def test_a_path_that_leads_out_of_its_folder_is_refused_before_anything_is_written(project: Project, path: str) -> None:
    put(project, b"evil")
    harmless = {"md5": put(project, b"fine"), "relpath": "a.txt"}
    value = put(project, json.dumps([harmless, {"md5": EVIL, "relpath": path}]).encode(), ".dir")
    with pytest.raises(IntegrityError, match="lead out of its folder"):
        check_out(project, value)


def test_a_file_that_is_a_folder_too_is_refused(project: Project) -> None:
    put(project, b"evil")
    listed = [{"md5": EVIL, "relpath": "a"}, {"md5": EVIL, "relpath": "a/b"}]
    with pytest.raises(IntegrityError, match="lead out"):
        check_out(project, put(project, json.dumps(listed).encode(), ".dir"))


@pytest.mark.parametrize("md5", ["../../../../etc/passwd", "", None, 7, "d" * 31, EVIL + ".dir"])
def test_a_hash_that_is_none_is_refused(project: Project, md5: Any) -> None:
    value = put(project, json.dumps([{"md5": md5, "relpath": "a"}]).encode(), ".dir")
    with pytest.raises(AlambiqueError):
        check_out(project, value)
    if md5 != EVIL + ".dir":
        with pytest.raises(IntegrityError, match="no MD5"):
            check_out(project, md5)


@pytest.mark.parametrize("content", [b"[1]", b"[{}]", b"{}", b"[[[[", b'[{"relpath": 3, "md5": "x"}]', b"[" * 5000])
def test_a_list_that_is_none_is_an_error_by_name(project: Project, content: bytes) -> None:
    with pytest.raises(AlambiqueError):
        check_out(project, put(project, content, ".dir"))
