from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from PIL import Image

from alambique.config.deployment import Deployment
from alambique.data.dataset import Dataset
from alambique.errors import AlambiqueError, ConfigurationError, DataError, TransientError
from alambique.git import git
from alambique.messages import Run, SnapshotRequest
from alambique.pipeline import dvc_repository, graph, transfer
from alambique.runs import new_project, versioning
from alambique.runs.snapshot import snapshot


@pytest.fixture
def begun(scenes: Path, tmp_path: Path) -> Path:
    """A project whose data folder a test may change. It is not tracked by MLflow."""
    overrides = tmp_path / "overrides.yaml"
    overrides.write_text("validation: {min_boxes_per_class: 0}\n")
    target = tmp_path / "cells"
    new_project.init(target, str(scenes), "detect", overrides=overrides, origin=None, remote=None)
    content = yaml.safe_load((target / "alambique.yaml").read_text())
    (target / "alambique.yaml").write_text(yaml.safe_dump({**content, "tracking_uri": None}))
    return target


def take(begun: Path, **changes: object) -> Run:
    deployment = Deployment.load(begun).model_copy(update=changes)
    return snapshot(SnapshotRequest(deployment=deployment, run_id="r1", digest=graph.read(begun).digest))


def head(begun: Path) -> str:
    return git("ls-remote", "origin", "refs/heads/main", cwd=begun).split()[0]


def commit_and_push(begun: Path, name: str, content: str) -> None:
    (begun / name).write_text(content)
    git("add", "--", name, cwd=begun)
    git("commit", "--quiet", "--message", f"Change {name}", cwd=begun)
    git("push", "--quiet", "origin", "main", cwd=begun)


def test_unchanged_things_are_the_same_commit_again(begun: Path) -> None:
    first, second = take(begun), take(begun)
    assert first == second
    assert first.revision == head(begun) == git("rev-parse", "HEAD", cwd=begun)
    assert set(first.sources) == {"data", "inputs/teachers", "inputs/students", "inputs/champions"}
    assert set(first.params) == set(graph.read(begun).stages)
    assert first.champions == {}
    assert [path.name for path in (begun / ".alambique/workspaces").iterdir()] == [".lock"]


def test_a_changed_image_is_a_new_commit_whose_bytes_are_on_the_remote(begun: Path, tmp_path: Path) -> None:
    first = take(begun)
    Image.new("RGB", (64, 64), "red").save(begun / "data/images/train/00000.png")
    second = take(begun)
    assert second.revision == head(begun) != first.revision
    assert second.sources["data"]["md5"] != first.sources["data"]["md5"]
    assert second.sources["inputs/teachers"] == first.sources["inputs/teachers"]

    elsewhere = Deployment(origin=Deployment.load(begun).origin, home=tmp_path / "elsewhere")
    dvc_repository.clone(elsewhere, second.revision, tmp_path / "clone")
    dvc_repository.configure_dvc(tmp_path / "clone", elsewhere)
    transfer.pull(tmp_path / "clone", second.sources)
    expected = Dataset.load(begun / "data").digest("train")
    assert Dataset.load(tmp_path / "clone/data").digest("train") == expected


def test_every_dataset_gets_one_tag_where_it_first_appeared(begun: Path) -> None:
    first = take(begun)
    commit_and_push(begun, "notes.txt", "The data stays the same.\n")
    later = take(begun)
    assert later.revision != first.revision
    tag = f"refs/tags/data/{first.sources['data']['md5'][:12]}"
    assert git("ls-remote", "origin", "refs/tags/*", cwd=begun).split() == [first.revision, tag]


def test_the_caches_that_training_leaves_change_nothing(begun: Path) -> None:
    first = take(begun)
    (begun / "data/labels/train.cache").write_text("left by Ultralytics")
    assert take(begun) == first


def test_the_data_folder_is_only_read(begun: Path) -> None:
    files = {path: path.stat() for path in (begun / "data").rglob("*")}
    take(begun)
    for path, stat in files.items():
        assert (path.stat().st_ino, path.stat().st_mode) == (stat.st_ino, stat.st_mode)


def test_without_a_folder_the_committed_data_is_taken(begun: Path) -> None:
    first = take(begun)
    (begun / "data/labels/train/00000.txt").write_text("")
    assert take(begun, data=None) == first


def test_a_folder_that_is_no_dataset_is_refused(begun: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"data\.yaml"):
        take(begun, data=tmp_path / "empty")


def test_a_dag_built_from_another_graph_is_refused(begun: Path) -> None:
    request = SnapshotRequest(deployment=Deployment.load(begun), run_id="r1", digest="0" * 64)
    with pytest.raises(ConfigurationError, match="redeploy the DAG"):
        snapshot(request)


def test_parameters_that_change_the_graph_without_its_file_are_refused(begun: Path) -> None:
    text = (begun / "params.yaml").read_text()
    commit_and_push(begun, "params.yaml", text.replace("shards: [0, 1]", "shards: [0, 1, 2]"))
    with pytest.raises(ConfigurationError, match="alambique graph write"):
        take(begun)


def test_other_installed_versions_are_refused(begun: Path) -> None:
    commit_and_push(begun, "versions.yaml", (begun / "versions.yaml").read_text().replace("ultralytics: ", "torch9: "))
    before = head(begun)
    with pytest.raises(ConfigurationError, match="alambique versions"):
        take(begun)
    assert head(begun) == before


def test_a_branch_that_moves_meanwhile_asks_for_a_retry(begun: Path, tmp_path: Path) -> None:
    deployment = Deployment.load(begun)
    dvc_repository.clone(deployment, "main", tmp_path / "clone")
    commit_and_push(begun, "notes.txt", "Somebody was faster.\n")
    (tmp_path / "clone/data.dvc").write_text("outs: []\n")
    with pytest.raises(TransientError, match="main moved"):
        versioning.commit(tmp_path / "clone", "main", ["data.dvc"], "Too late")


def test_a_tracked_run_is_opened_in_mlflow(begun: Path, tmp_path: Path) -> None:
    from alambique.registry.client import connect

    uri = f"sqlite:///{tmp_path}/mlflow.db"
    run = take(begun, tracking_uri=uri)
    assert run.tracking_run is not None
    tags = connect(uri).get_run(run.tracking_run).data.tags
    assert tags["alambique.revision"] == run.revision
    assert tags["alambique.data"] == run.sources["data"]["md5"]


def test_a_hooks_refusal_is_said_in_its_words(begun: Path) -> None:
    hook = Path(git("remote", "get-url", "origin", cwd=begun)) / "hooks/pre-receive"
    hook.write_text("#!/bin/sh\necho 'main is frozen' >&2\nexit 1\n")
    hook.chmod(0o755)
    (begun / "README.md").write_text("hello")
    with pytest.raises(AlambiqueError, match="main is frozen") as refused:
        versioning.commit(begun, "main", ["README.md"], "Say hello")
    assert not isinstance(refused.value, TransientError)
