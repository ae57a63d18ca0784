from __future__ import annotations

from pathlib import Path

import pytest
from factories.finished_run import NAMES, judged, record_request
from mlflow import MlflowClient

from alambique.errors import ConflictError
from alambique.files import read_json
from alambique.git import git
from alambique.messages import Decisions, EndRequest, RecordRequest, RunRequest, UnchangedRequest, Version
from alambique.pipeline import dvc_repository, transfer
from alambique.registry.model_versions import verified_card
from alambique.registry.tracking import start_run
from alambique.runs.record import end, record, unchanged

VERSION = Version(candidate=NAMES[0], model="tiny-onnx", version="1", sha256="a" * 64)


@pytest.fixture
def request_(untracked: RunRequest) -> RecordRequest:
    return record_request(untracked, judged("r1", VERSION))


def head(origin: str, ref: str) -> str:
    return git("rev-parse", ref, cwd=Path(origin))


def move_branch(request: RunRequest, folder: Path) -> str:
    """What a person does meanwhile: a commit on the branch."""
    git("clone", "--quiet", request.deployment.origin, str(folder))
    (folder / "README.md").write_text("hello")
    git("add", "README.md", cwd=folder)
    git("commit", "--quiet", "--message", "Say hello", cwd=folder)
    git("push", "--quiet", "origin", "HEAD:main", cwd=folder)
    return git("rev-parse", "HEAD", cwd=folder)


def test_a_run_is_a_tag_and_the_new_head_of_its_branch(request_: RecordRequest) -> None:
    recorded = record(request_)
    origin = request_.deployment.origin
    assert recorded.tag == "runs/r1" and recorded.branch_moved
    assert head(origin, "refs/tags/runs/r1") == head(origin, "refs/heads/main") == recorded.revision
    assert head(origin, f"{recorded.revision}^") == request_.run.revision


def test_everything_comes_back_from_the_tag(request_: RecordRequest, tmp_path: Path) -> None:
    record(request_)
    elsewhere = request_.deployment.model_copy(update={"home": tmp_path / "elsewhere"})
    dvc_repository.clone(elsewhere, "runs/r1", tmp_path / "clone")
    dvc_repository.configure_dvc(tmp_path / "clone", elsewhere)
    transfer.pull(tmp_path / "clone", [*(f"candidates/{name}" for name in NAMES), "report"])
    for name in NAMES:
        assert verified_card(tmp_path / "clone/candidates" / name)["candidate"] == name
    assert Decisions(**read_json(tmp_path / "clone/decisions.json")) == request_.decisions


def test_a_run_of_which_a_task_failed_ends_as_failed_in_mlflow_and_one_that_ended_stays(
    tracked: RunRequest, client: MlflowClient
) -> None:
    tracking_run = start_run(tracked.deployment.tracking_uri, "tiny", "failing", {})
    run = tracked.run.model_copy(update={"tracking_run": tracking_run})
    request = EndRequest(deployment=tracked.deployment, run=run)
    assert end(request).status == "FAILED"
    assert client.get_run(str(tracking_run)).info.status == "FAILED"
    client.set_terminated(str(tracking_run), "FINISHED")
    assert end(request).status == "FINISHED"


def test_a_run_for_which_nothing_changed_ends_in_mlflow_and_leaves_no_tag(
    tracked: RunRequest, client: MlflowClient
) -> None:
    tracking_run = start_run(tracked.deployment.tracking_uri, "tiny", "unchanged", {})
    run = tracked.run.model_copy(update={"tracking_run": tracking_run})
    assert unchanged(UnchangedRequest(deployment=tracked.deployment, run=run)).revision == run.revision
    found = client.get_run(str(tracking_run))
    assert found.info.status == "FINISHED"
    assert found.data.tags["alambique.outcome"] == "no_new_data"
    assert git("tag", "--list", "runs/*", cwd=Path(tracked.deployment.origin)) == ""


def test_recording_again_changes_nothing(request_: RecordRequest) -> None:
    assert record(request_) == record(request_)


def test_recording_again_still_moves_a_branch_that_was_left_behind(request_: RecordRequest) -> None:
    first = record(request_)
    git("update-ref", "refs/heads/main", request_.run.revision, cwd=Path(request_.deployment.origin))
    assert record(request_) == first
    assert head(request_.deployment.origin, "refs/heads/main") == first.revision


def test_other_results_under_the_same_id_are_a_conflict(request_: RecordRequest) -> None:
    first = record(request_)
    with pytest.raises(ConflictError, match=r"runs/r1 holds another decisions\.json"):
        record(request_.model_copy(update={"decisions": judged("r1")}))
    assert head(request_.deployment.origin, "refs/tags/runs/r1") == first.revision


def test_a_branch_that_moved_on_stays_where_it_is(request_: RecordRequest, tmp_path: Path, warned: list[str]) -> None:
    theirs = move_branch(request_, tmp_path / "colleague")
    recorded = record(request_)
    assert not recorded.branch_moved
    assert head(request_.deployment.origin, "refs/heads/main") == theirs
    assert head(request_.deployment.origin, "refs/tags/runs/r1") == recorded.revision
    assert "the branch main stays where it is" in warned[0]


def test_a_branch_that_went_on_from_the_run_holds_it(request_: RecordRequest, tmp_path: Path) -> None:
    recorded = record(request_)
    move_branch(request_, tmp_path / "colleague")
    assert record(request_) == recorded


def test_the_parent_run_ends_with_revision_and_decisions(tracked: RunRequest, client: MlflowClient) -> None:
    recorded = record(record_request(tracked, judged("r1", VERSION)))
    (parent,) = client.search_runs([client.get_experiment_by_name("tiny").experiment_id])
    assert parent.info.status == "FINISHED"
    assert parent.data.tags["alambique.revision"] == recorded.revision
    assert parent.data.tags["alambique.tag"] == "runs/r1"
    assert [file.path for file in client.list_artifacts(parent.info.run_id)] == ["decisions.json"]
