from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from factories.runner_project import Project, stage
from factories.s3 import s3_server

from alambique.errors import AlambiqueError, TransientError
from alambique.files import write_bytes
from alambique.pipeline import resume_store
from alambique.pipeline.dvc_repository import opened
from alambique.pipeline.resume_store import resumable
from alambique.process.resume_dir import RESUME_FOLDER, STATE, kept_on_laptop, state_file
from alambique.runs.run_stage import run_stage

CHAIN = {"left": stage("left", "parts/left", "data")}
SOON = 0.05  # seconds


@pytest.fixture(autouse=True)
def looking_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resume_store, "SECONDS", SOON)


@contextmanager
def remote_of(tmp_path: Path, kind: str) -> Iterator[Path]:
    """The checkout of a project whose remote is a folder, or in S3."""
    if kind == "folder":
        yield Project(tmp_path / "project", CHAIN).checkout
    else:
        with s3_server(tmp_path / "server"):
            yield Project(tmp_path / "project", CHAIN, remote="s3://bucket/project").checkout


@contextmanager
def resuming(workspace: Path, key: str, folder: Path) -> Iterator[None]:
    with opened(workspace) as repo, resumable(repo, key, folder):
        yield


def earlier(workspace: Path, key: str, folder: Path) -> bytes | None:
    """What a try of the stage would find; it fails itself."""
    try:
        with resuming(workspace, key, folder):
            path = folder / STATE
            content = path.read_bytes() if path.exists() else None
            raise InterruptedError
    except InterruptedError:
        return content


def soon(done: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 20
    while not done() and time.monotonic() < deadline:
        time.sleep(SOON)
    return done()


@pytest.mark.parametrize("kind", ["folder", "s3"])
def test_a_state_is_uploaded_while_the_stage_runs_and_gone_after_success(tmp_path: Path, kind: str) -> None:
    with remote_of(tmp_path, kind) as workspace:
        with pytest.raises(InterruptedError), resuming(workspace, "k1", tmp_path / "first"):
            assert not (tmp_path / "first" / STATE).exists()
            for content in (b"old", b"new"):
                write_bytes(tmp_path / "first" / STATE, content)
                assert soon(lambda expected=content: earlier(workspace, "k1", tmp_path / "seen") == expected)  # type: ignore[misc]
            write_bytes(tmp_path / "first" / STATE, b"newest")
            raise InterruptedError
        assert earlier(workspace, "k1", tmp_path / "second") == b"newest"  # sent although the stage failed
        assert earlier(workspace, "k2", tmp_path / "third") is None  # another stage's key
        with resuming(workspace, "k1", tmp_path / "fourth"):
            pass
        assert earlier(workspace, "k1", tmp_path / "fifth") is None


def test_an_unchanged_state_is_not_sent_again(tmp_path: Path) -> None:
    project = Project(tmp_path / "project", CHAIN)
    kept = project.remote_folder / "resume" / "k" / STATE
    write_bytes(kept, b"state")
    before = kept.stat().st_ino
    assert earlier(project.checkout, "k", tmp_path / "try") == b"state"
    assert kept.stat().st_ino == before


def test_a_stage_without_a_state_leaves_nothing_on_the_remote(tmp_path: Path) -> None:
    project = Project(tmp_path / "project", CHAIN)
    with resuming(project.checkout, "k", tmp_path / "try"):
        pass
    assert not (project.remote_folder / "resume").exists()


def test_a_remote_out_of_reach_stops_a_stage_before_it_begins_but_not_afterwards(
    tmp_path: Path, warned: list[str]
) -> None:
    with s3_server(tmp_path / "server") as server:
        workspace = Project(tmp_path / "project", CHAIN, remote="s3://bucket/project").checkout
        with resuming(workspace, "k", tmp_path / "try"):
            server.kill()
            server.wait()
            write_bytes(tmp_path / "try" / STATE, b"state")
            assert soon(lambda: any("could not upload the training's state, going on without" in w for w in warned))
        assert "could not remove the training's state" in warned[-1]
        with pytest.raises(TransientError), resuming(workspace, "k", tmp_path / "again"):
            pytest.fail("the stage began")


def test_the_runner_gives_a_failed_stage_its_state_back(tmp_path: Path) -> None:
    """The first try leaves a state and fails; the second succeeds where it finds it."""
    command = f'if grep -q half "${RESUME_FOLDER}/{STATE}"; then {CHAIN["left"]["cmd"]}; else '
    command += f'echo half > "${RESUME_FOLDER}/{STATE}"; exit 1; fi'
    project = Project(tmp_path / "project", {"left": {**CHAIN["left"], "cmd": command}})
    request = project.request(project.snapshot(), "left", {})
    with pytest.raises(AlambiqueError, match="stage left failed"):
        run_stage(request)
    (kept,) = (project.remote_folder / "resume").iterdir()
    assert (kept / STATE).read_text() == "half\n"
    elsewhere = project.deployment.model_copy(update={"home": tmp_path / "elsewhere"})
    result = run_stage(request.model_copy(update={"deployment": elsewhere}))
    assert (result.found, result.key) == ("ran", kept.name)
    assert not kept.exists()


def test_a_state_outlives_a_result_that_could_not_be_pushed(tmp_path: Path) -> None:
    objects = tmp_path / "project/remote/files"
    command = f'echo half > "${RESUME_FOLDER}/{STATE}"; rm -r {objects}; touch {objects}; {CHAIN["left"]["cmd"]}'
    project = Project(tmp_path / "project", {"left": {**CHAIN["left"], "cmd": command}})
    with pytest.raises(TransientError):
        run_stage(project.request(project.snapshot(), "left", {}))
    (kept,) = (project.remote_folder / "resume").iterdir()
    assert (kept / STATE).read_text() == "half\n"


def test_on_a_laptop_a_state_stays_in_the_project_until_the_stage_succeeds(tmp_path: Path) -> None:
    assert state_file() is None
    with pytest.raises(InterruptedError), kept_on_laptop(tmp_path, "distill@pico-0"):
        path = tmp_path / ".alambique/resume/distill@pico-0" / STATE
        assert state_file() == path
        write_bytes(path, b"state")
        raise InterruptedError
    with kept_on_laptop(tmp_path, "distill@pico-0"):
        assert path.read_bytes() == b"state"
    assert not path.exists()
    assert state_file() is None


def test_a_runners_folder_is_left_to_the_runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(RESUME_FOLDER, str(tmp_path / "given"))
    write_bytes(tmp_path / "given" / STATE, b"state")
    with kept_on_laptop(tmp_path, "distill@pico-0"):
        assert state_file() == tmp_path / "given" / STATE
    assert (tmp_path / "given" / STATE).exists()


@pytest.mark.parametrize("kind", ["folder", "s3"])
def test_with_a_key_only_its_own_states_are_read(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with remote_of(tmp_path, kind) as workspace:
        monkeypatch.setenv("ALAMBIQUE_LOCKS_KEY", "k" * 32)
        for content in (b"first", b"second"):
            try:
                with resuming(workspace, "key", tmp_path / "one"):
                    write_bytes(tmp_path / "one" / STATE, content)
                    raise InterruptedError
            except InterruptedError:
                pass
            assert earlier(workspace, "key", tmp_path / content.decode()) == content
        monkeypatch.setenv("ALAMBIQUE_LOCKS_KEY", "j" * 32)
        assert earlier(workspace, "key", tmp_path / "other") is None
        monkeypatch.delenv("ALAMBIQUE_LOCKS_KEY")
        assert earlier(workspace, "key", tmp_path / "none") is None
