from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
import yaml
from factories.tiny_detection import NETWORK
from ultralytics import YOLO

from alambique import config
from alambique.config.deployment import Deployment
from alambique.data.dataset import Dataset
from alambique.errors import ConfigurationError, DataError
from alambique.files import sha256
from alambique.git import git
from alambique.pipeline import dvc_repository, graph, transfer
from alambique.pipeline.dvc_repository import opened
from alambique.process.environment import prepare
from alambique.runs import new_project, versions
from alambique.tasks.yolo import network

prepare()


@pytest.fixture(scope="module")
def overrides(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("overrides")
    network.save(network.build(NETWORK, ["a"], seed=0), folder / "given.pt", image_size=64)
    content = {
        "students": ["tiny"],
        "networks": {"tiny": {"weights": "given.pt"}},
        "validation": {"min_boxes_per_class": 0},
        "teacher": {"main": {"steps": 2}},
    }
    (folder / "params.yaml").write_text(yaml.safe_dump(content))
    return folder / "params.yaml"


@pytest.fixture(scope="module")
def begun(scenes: Path, overrides: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project as `init` leaves it. Read-only."""
    target = tmp_path_factory.mktemp("projects") / "My cells-2"
    new_project.init(target, str(scenes), "detect", overrides=overrides, origin=None, remote=None)
    return target


def test_everything_is_committed_and_pushed(begun: Path) -> None:
    assert git("status", "--porcelain", cwd=begun) == ""
    assert git("ls-remote", "origin", "refs/heads/main", cwd=begun).split()[0] == git("rev-parse", "HEAD", cwd=begun)
    files = set(git("ls-files", cwd=begun).splitlines())
    assert {"dvc.yaml", "params.yaml", "versions.yaml", "pipeline.json", "alambique.yaml", "data.dvc"} <= files
    assert {"dags/distill.py", "dags/promote.py", ".gitignore", ".dvcignore", "inputs/teachers.dvc"} <= files
    assert not any(name.startswith(("data/", ".alambique/")) for name in files)


def test_git_ignores_what_the_stages_write(begun: Path) -> None:
    outs = {out for stage in graph.read(begun).stages.values() for out in stage.outs}
    assert set(git("check-ignore", *outs, cwd=begun).splitlines()) == outs


def test_a_clone_gets_its_data_from_the_remote(begun: Path, scenes: Path, overrides: Path, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    git("clone", "--quiet", Deployment.load(begun).origin, str(clone))
    transfer.pull(clone, ["data", "inputs/students"])
    for split in ("train", "val", "test", "unlabelled"):
        assert Dataset.load(clone / "data").digest(split) == Dataset.load(scenes).digest(split)
    assert sha256(clone / "inputs/students/tiny.pt") == sha256(overrides.parent / "given.pt")


def test_nothing_speaks_of_the_folder_in_which_it_was_built(begun: Path) -> None:
    deployment = Deployment.load(begun)
    assert (deployment.origin, deployment.data) == (str(begun / ".alambique/origin.git"), begun / "data")
    assert git("remote", "get-url", "origin", cwd=begun) == deployment.origin
    assert f"url = {begun}/.alambique/remote" in (begun / ".dvc/config").read_text()
    with opened(begun) as repo:
        assert repo.cache.local.path == str(begun / ".alambique/cache/files/md5")
    assert [path.name for path in begun.parent.iterdir()] == [begun.name]


def test_overrides_are_merged_and_the_comments_stay(begun: Path, overrides: Path) -> None:
    text = (begun / "params.yaml").read_text()
    assert "# pixels, a multiple of 32" in text
    params = config.load(begun)
    assert (params.project, params.students, params.teacher["main"].steps) == ("my_cells_2", ("tiny",), 2)
    assert params.teacher["main"].source == "train"
    assert params.networks["tiny"].weights == str(overrides.parent / "given.pt")


def test_the_graph_and_the_versions_are_those_of_the_parameters(begun: Path) -> None:
    assert "distill@tiny-0" in graph.read(begun).stages
    versions.check(begun)


def test_a_given_origin_and_remote_are_used(scenes: Path, overrides: Path, tmp_path: Path) -> None:
    git("init", "--quiet", "--bare", str(tmp_path / "team.git"))
    target, remote = tmp_path / "cells", tmp_path / "storage"
    new_project.init(
        target, str(scenes), "detect", overrides=overrides, origin=str(tmp_path / "team.git"), remote=str(remote)
    )
    assert git("rev-parse", "main", cwd=tmp_path / "team.git") == git("rev-parse", "HEAD", cwd=target)
    assert any(remote.rglob("*.dir"))
    assert Deployment.load(target).data is None


def test_a_folder_with_something_in_it_is_refused(scenes: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ConfigurationError, match="not an empty folder"):
        new_project.init(tmp_path, str(scenes), "detect", overrides=None, origin=None, remote=None)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_path_of_any_language_may_hold_the_project(scenes: Path, tmp_path: Path) -> None:
    target = tmp_path / "c'est à 100% #1 [x], *" / "日本"
    target.parent.mkdir()
    overrides = target.parent / "params.yaml"
    overrides.write_text("validation: {min_boxes_per_class: 0}\n")
    new_project.init(target, str(scenes), "detect", overrides=overrides, origin=None, remote=None)
    with dvc_repository.cloned(Deployment.load(target), "main", "snapshot") as clone:
        transfer.pull(clone, ["data"])
        assert Dataset.load(clone / "data").digest("train") == Dataset.load(scenes).digest("train")


def test_weights_of_another_task_are_refused_before_anything_is_trained(scenes: Path, tmp_path: Path) -> None:
    upstream = YOLO("yolo26n-seg.yaml", verbose=False).model
    torch.save({"model": upstream, "train_args": {}}, tmp_path / "masks.pt")
    (tmp_path / "params.yaml").write_text(
        "teacher: {main: {weights: masks.pt}}\nvalidation: {min_boxes_per_class: 0}\n"
    )
    with pytest.raises(DataError, match=f"^{tmp_path}/masks.pt holds a SegmentationModel"):
        new_project.init(
            tmp_path / "cells", str(scenes), "detect", overrides=tmp_path / "params.yaml", origin=None, remote=None
        )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["masks.pt", "params.yaml"]


def test_a_broken_dataset_leaves_no_project(scenes: Path, overrides: Path, tmp_path: Path) -> None:
    shutil.copytree(scenes, tmp_path / "source")
    (tmp_path / "source/labels/train/00000.txt").write_text("99 0.5 0.5 0.1 0.1\n")
    with pytest.raises(DataError, match=r"00000.png \(class: 99\)"):
        new_project.init(
            tmp_path / "cells", str(tmp_path / "source"), "detect", overrides=overrides, origin=None, remote=None
        )
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_impossible_parameters_leave_no_project(scenes: Path, tmp_path: Path) -> None:
    (tmp_path / "over.yaml").write_text("teacher: {main: {epoch: 3}}\n")
    with pytest.raises(ConfigurationError, match=r"teacher.main.epoch"):
        new_project.init(
            tmp_path / "cells", str(scenes), "detect", overrides=tmp_path / "over.yaml", origin=None, remote=None
        )
    assert not (tmp_path / "cells").exists()


def test_the_source_dataset_is_left_as_it_was(begun: Path, scenes: Path) -> None:
    image, copy = scenes / "images/train/00000.png", begun / "data/images/train/00000.png"
    assert sha256(image) == sha256(copy)
    assert image.stat().st_ino != copy.stat().st_ino
    assert image.stat().st_mode & 0o200


@pytest.mark.parametrize(
    ("folder", "name"),
    [("my-project", "my_project"), ("Café 7!", "caf_7"), ("2024", "project_2024"), ("__", "project")],
)
def test_a_folder_gives_a_valid_project_name(folder: str, name: str) -> None:
    assert new_project.project_name(folder) == name


def test_whatever_breaks_the_contract_is_refused_at_once(scenes: Path, tmp_path: Path) -> None:
    dataset = tmp_path / "dataset"
    shutil.copytree(scenes, dataset)
    shutil.copy(dataset / "images/train/00000.png", dataset / "images/val/00000.png")
    (dataset / "labels/train/00001.txt").write_text("10 0.5 0.5 0.1 0.1\n")
    (dataset / "images/test/00002.png").write_bytes(b"")
    with pytest.raises(DataError) as caught:
        new_project.init(tmp_path / "project", str(dataset), "detect", overrides=None, origin=None, remote=None)
    message = str(caught.value)
    for offender in ("train/00000.png (found_in: train, val)", "00001.png (class: 10)", "00002.png (readable: False)"):
        assert offender in message
    assert not (tmp_path / "project").exists()


def test_explaining_leaves_nothing_and_names_what_looks_odd(
    scenes: Path, overrides: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "alambique")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    new_project.explain(str(scenes), "detect", overrides, deduplicate=False)
    assert "is taken as YOLO: images train 24, val 8, test 8, unlabelled 8" in caplog.text
    assert "  train: 24 images, " in caplog.text
    assert list(tmp_path.iterdir()) == []


def test_copies_across_splits_are_refused_with_the_remedy_and_dropped_on_request(
    scenes: Path, overrides: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "alambique")
    source = tmp_path / "source"
    shutil.copytree(scenes, source)
    shutil.copyfile(source / "images/test/00000.png", source / "images/train/00000.png")
    with pytest.raises(DataError, match=r"(?s)no image is in two splits: .*- `init --deduplicate` keeps one copy"):
        new_project.explain(str(source), "detect", overrides, deduplicate=False)
    new_project.explain(str(source), "detect", overrides, deduplicate=True)
    assert "1 images of train dropped: they are in test or val, too (images/train/00000.png)" in caplog.text
    assert "  train: 23 images, " in caplog.text
