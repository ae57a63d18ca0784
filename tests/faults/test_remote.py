"""What a damaged, incomplete or absent remote does to a stage."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest
from factories.runner_project import Project, made, stage
from factories.s3 import s3_server

from alambique.errors import IntegrityError, TransientError
from alambique.messages import Run, StageRequest, StageResult
from alambique.pipeline.transfer import push
from alambique.runs.run_stage import run_stage

CHAIN = {"left": stage("left", "parts/left", "data"), "last": stage("last", "last", "parts/left")}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path / "project", CHAIN)


def elsewhere(project: Project) -> None:
    """Go on on a machine whose cache is empty."""
    project.deployment = project.deployment.model_copy(update={"home": project.root / "elsewhere"})


def left(project: Project, run: Run) -> StageResult:
    return run_stage(project.request(run, "left", {}))


def data_object(project: Project) -> Path:
    """The remote's object of data/a.txt."""
    (found,) = (
        path for path in (project.remote_folder / "files").rglob("*") if path.is_file() and path.read_text() == "data a"
    )
    return found


def test_a_missing_object_is_named_with_what_to_do(project: Project) -> None:
    run = project.snapshot()
    lost = data_object(project)
    lost.unlink()
    with pytest.raises(IntegrityError, match=rf"^data: its object .* is missing .*{lost}.*dvc push data"):
        left(project, run)


def test_a_missing_out_of_an_earlier_stage_is_named(project: Project) -> None:
    run = project.snapshot()
    result = left(project, run)
    project.object(result.entry["outs"][0]["md5"]).unlink()
    elsewhere(project)
    with pytest.raises(IntegrityError, match=r"^parts/left: its object .* is missing .*locks/<key>\.json"):
        run_stage(project.request(run, "last", {"left": result}))


def test_a_missing_list_of_a_folders_files_is_named(project: Project) -> None:
    run = project.snapshot()
    project.object(run.sources["data"]["md5"]).unlink()
    with pytest.raises(IntegrityError, match=r"^data: its object [0-9a-f]*\.dir is missing"):
        left(project, run)


@pytest.mark.parametrize("damage", ["content", "list"])
def test_tampered_bytes_reach_neither_a_stage_nor_the_cache(project: Project, damage: str) -> None:
    run = project.snapshot()
    path = data_object(project) if damage == "content" else project.object(run.sources["data"]["md5"])
    path.chmod(0o644)
    path.write_text(path.read_text()[:-1] + "!")
    with pytest.raises(IntegrityError, match=r"^data: its object .* has other bytes"):
        left(project, run)
    cached = [file.read_text() for file in (project.deployment.home / "cache").rglob("*") if file.is_file()]
    assert path.read_text() not in cached
    assert path.exists(), "the evidence was destroyed"


def test_a_corrupt_lock_entry_names_the_file_to_delete_and_its_deletion_helps(project: Project) -> None:
    run = project.snapshot()
    left(project, run)
    (entry,) = (project.remote_folder / "locks").iterdir()
    entry.write_text(entry.read_text().replace("python stage.py left", "python stage.py right"))
    with pytest.raises(IntegrityError, match=rf"{entry}.*delete that file"):
        left(project, run)
    entry.unlink()
    assert left(project, run).found == "ran"


def test_an_origin_out_of_reach_is_an_error_and_leaves_nothing(project: Project) -> None:
    run = project.snapshot()
    request = project.request(run, "left", {})
    origin = request.deployment.model_copy(update={"origin": "https://127.0.0.1:9/project.git"})
    with pytest.raises(TransientError, match="git clone failed"):
        run_stage(request.model_copy(update={"deployment": origin}))
    assert [path.name for path in (project.deployment.home / "workspaces").iterdir()] == [".lock"]


def test_on_s3_results_are_shared_and_an_outage_is_transient(tmp_path: Path) -> None:
    with s3_server(tmp_path / "server") as server:
        project = Project(tmp_path / "project", CHAIN, remote="s3://bucket/project")
        run = project.snapshot()
        results = project.run(run)
        elsewhere(project)
        assert {name: result.found for name, result in project.run(run).items()} == {"left": "store", "last": "store"}
        project.param("last", 1)
        run = project.snapshot()
        assert run_stage(project.request(run, "last", results)).found == "ran"
        server.kill()
        server.wait()
        with pytest.raises(TransientError):
            run_stage(project.request(run, "last", results))
        with pytest.raises(TransientError):
            push(project.checkout, ["data"])


def in_a_group_of_its_own(request: StageRequest) -> None:
    os.setsid()
    run_stage(request)


def test_a_stage_killed_halfway_leaves_no_result_and_the_next_try_succeeds(tmp_path: Path) -> None:
    flag = tmp_path / "started"
    wait = f"test -e {flag} || (touch {flag} && sleep 100)"
    chain = {"left": {**CHAIN["left"], "cmd": f"echo half > parts/left; {wait} && {CHAIN['left']['cmd']}"}}
    project = Project(tmp_path / "project", chain)
    project.write("parts/.gitignore", "/left\n")
    run = project.snapshot()
    request = project.request(run, "left", {})
    victim = multiprocessing.get_context("spawn").Process(target=in_a_group_of_its_own, args=(request,))
    victim.start()
    for _ in range(600):
        if flag.exists():
            break
        time.sleep(0.1)
    assert victim.pid is not None
    os.killpg(victim.pid, signal.SIGKILL)
    victim.join()
    assert not (project.remote_folder / "locks").exists()
    result = run_stage(request)
    assert project.content(result, "parts/left") == made(0, {"data/a.txt": "data a", "data/b.txt": "data b"})
    assert [path.name for path in (project.deployment.home / "workspaces").iterdir()] == [".lock"]
