from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from factories.runner_project import Project, stage

from alambique.config.deployment import Deployment
from alambique.errors import AlambiqueError, ConfigurationError, IntegrityError, TransientError
from alambique.git import git
from alambique.pipeline import dvc_repository
from alambique.pipeline.transfer import pull


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return Project(tmp_path_factory.mktemp("project"), {"left": stage("left", "parts/left", "data")})


def test_a_clone_is_at_the_commit_the_tag_or_the_branch(project: Project, tmp_path: Path) -> None:
    first = project.snapshot().revision
    git("push", "--quiet", "origin", f"{first}:refs/tags/runs/one", cwd=project.checkout)
    second = project.snapshot().revision
    for name, revision, expected in [("a", first, first), ("b", "runs/one", first), ("c", "main", second)]:
        dvc_repository.clone(project.deployment, revision, tmp_path / name)
        assert git("rev-parse", "HEAD", cwd=tmp_path / name) == expected
    assert git("branch", "--show-current", cwd=tmp_path / "c") == "main"


def test_an_unknown_revision_is_refused(project: Project, tmp_path: Path) -> None:
    with pytest.raises(AlambiqueError, match="checkout"):
        dvc_repository.clone(project.deployment, "0" * 40, tmp_path / "a")


def test_sources_and_params_read_as_in_dvc_lock(project: Project, tmp_path: Path) -> None:
    project.write("params.yaml", "left: {rate: 1e-3, deep: [1, {a: null}]}\nright: 2\n")
    project.snapshot()
    clone = tmp_path / "clone"
    dvc_repository.clone(project.deployment, "main", clone)
    dvc_repository.configure_dvc(clone, project.deployment)
    pull(clone, ["data"])
    # Stages call `python`, which a machine may have under another name; in a shell, the virtual environment has it.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    command = [sys.executable, "-m", "dvc", "repro", "--single-item", "left"]
    subprocess.run(command, cwd=clone, check=True, env={**os.environ, "PATH": path})
    entry = dvc_repository.lock_entries(clone)["left"]
    (dep,) = entry["deps"]
    assert {"path": "data", **dvc_repository.source_hashes(clone)["data"]} == dep
    assert dvc_repository.resolved_params(clone) == {"left": entry["params"]}
    assert entry["params"]["params.yaml"]["left"]["rate"] == 0.001


def test_a_missing_param_is_a_configuration_error(project: Project, tmp_path: Path) -> None:
    dvc_repository.clone(project.deployment, "main", tmp_path / "clone")
    (tmp_path / "clone" / "params.yaml").write_text("other: 1\n")
    with pytest.raises(ConfigurationError, match="left"):
        dvc_repository.resolved_params(tmp_path / "clone")


def test_a_param_without_a_json_form_is_refused(project: Project, tmp_path: Path) -> None:
    dvc_repository.clone(project.deployment, "main", tmp_path / "clone")
    (tmp_path / "clone" / "versions.yaml").write_text("released: 2026-01-01\n")
    one = {"cmd": "x", "params": [{"versions.yaml": None}]}
    (tmp_path / "clone" / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"one": one}}))
    with pytest.raises(ConfigurationError, match="quote it"):
        dvc_repository.resolved_params(tmp_path / "clone")


def test_a_lock_reads_back_as_it_was_written(tmp_path: Path) -> None:
    entry = {"cmd": "x", "params": {"params.yaml": {"rate": 1e-05, "none": None}}, "outs": [{"path": "o", "md5": "1"}]}
    dvc_repository.write_lock(tmp_path, {"b": entry, "a": {"cmd": "y"}})
    assert dvc_repository.lock_entries(tmp_path) == {"a": {"cmd": "y"}, "b": entry}
    dvc_repository.write_lock(tmp_path, {})
    assert dvc_repository.lock_entries(tmp_path) == {}


@pytest.mark.parametrize("content", ["stages: [", "text", "stages: [a]"])
def test_a_damaged_lock_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "dvc.lock").write_text(content)
    with pytest.raises(IntegrityError, match=r"dvc\.lock"):
        dvc_repository.lock_entries(tmp_path)


def test_a_project_without_a_remote_is_refused(project: Project, tmp_path: Path) -> None:
    dvc_repository.clone(project.deployment, "main", tmp_path / "clone")
    (tmp_path / "clone" / ".dvc" / "config").write_text("")
    with pytest.raises(ConfigurationError, match="dvc remote add"):
        dvc_repository.configure_dvc(tmp_path / "clone", project.deployment)


def test_a_workspace_keeps_dvcs_own_records_to_itself(project: Project, tmp_path: Path) -> None:
    deployment = Deployment(origin=project.deployment.origin, home=tmp_path / "home")
    dvc_repository.clone(deployment, "main", tmp_path / "clone")
    dvc_repository.configure_dvc(tmp_path / "clone", deployment)
    with dvc_repository.opened(tmp_path / "clone") as repo:
        assert Path(repo.site_cache_dir).is_relative_to(tmp_path / "clone")
        assert Path(repo.cache.local.path).is_relative_to(tmp_path / "home" / "cache")
        assert repo.cloud.get_remote_odb().verify


@pytest.mark.parametrize("user", [0, 1000])
def test_what_a_stage_gets_is_either_read_only_or_no_part_of_the_cache(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, user: int
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: user)
    project.snapshot()
    deployment = Deployment(origin=project.deployment.origin, home=tmp_path / "home")
    dvc_repository.clone(deployment, "main", tmp_path / "clone")
    dvc_repository.configure_dvc(tmp_path / "clone", deployment)
    pull(tmp_path / "clone", ["data"])
    given = tmp_path / "clone" / "data" / "a.txt"
    cached = [path for path in (tmp_path / "home" / "cache").rglob("*") if path.is_file()]
    shared = any(given.samefile(path) for path in cached)
    assert cached
    assert not shared or (user != 0 and not given.stat().st_mode & 0o222)  # root writes what is read-only


def test_two_processes_in_one_repository_are_a_transient_error(project: Project) -> None:
    with dvc_repository.opened(project.checkout) as repo, repo.lock:
        with pytest.raises(TransientError, match="another process"):
            with dvc_repository.opened(project.checkout) as other:
                other.checkout()
