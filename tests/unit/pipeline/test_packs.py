"""Packs on a real S3 server."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dvc.repo import Repo
from factories.s3 import s3_server

from alambique.pipeline import packs, transfer

FILES = 12


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with s3_server(tmp_path_factory.mktemp("s3")):
        yield


@pytest.fixture
def remote(server: None, tmp_path: Path) -> Any:
    """The file system of the bucket, and the prefix of this test's remote in it."""
    import s3fs

    return s3fs.S3FileSystem(endpoint_url=os.environ["AWS_ENDPOINT_URL"]), f"bucket/{tmp_path.name}"


@pytest.fixture
def project(remote: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(packs, "FEWEST", 5)
    monkeypatch.setattr(packs, "SIZE", 50)
    root = tmp_path / "project"
    (root / "data").mkdir(parents=True)
    storage = {"url": f"s3://{remote[1]}", "endpointurl": os.environ["AWS_ENDPOINT_URL"]}
    with Repo.init(str(root), no_scm=True) as repo, repo.config.edit("repo") as config:
        config["core"] |= {"remote": "storage", "analytics": False, "site_cache_dir": str(tmp_path / "site")}
        config["remote"] = {"storage": storage}
    for number in range(FILES):
        (root / "data" / str(number)).write_text(f"file {number:5}")
    return root


def pushed(root: Path) -> str:
    """Version data/ and push it; its hash."""
    with Repo(str(root)) as repo:
        repo.add(str(root / "data"))
    transfer.push(root, ["data"])
    return transfer.tracked_hashes(root, ["data"])["data"]


def pulled(root: Path) -> dict[str, str]:
    """What a worker with an empty cache gets."""
    (root / ".dvc" / "config.local").write_text(f"[cache]\n    dir = {root}/empty\n")
    shutil.rmtree(root / "data")
    transfer.pull(root, ["data"])
    return {path.name: path.read_text() for path in (root / "data").iterdir()}


def index(remote: Any, value: str) -> dict[str, list[str]]:
    fs, prefix = remote
    fs.invalidate_cache()
    found: dict[str, list[str]] = json.loads(fs.cat_file(f"{prefix}/packs/{value.removesuffix('.dir')}.json"))
    return found


def without_loose_objects(remote: Any) -> None:
    """Delete the objects that are no lists of files, so that packs alone hold them."""
    fs, prefix = remote
    fs.invalidate_cache()
    for path in fs.find(f"{prefix}/files"):
        if not path.endswith(".dir"):
            fs.rm(path)


CONTENT = {str(number): f"file {number:5}" for number in range(FILES)}


def test_a_worker_with_an_empty_cache_needs_no_loose_object(project: Path, remote: Any) -> None:
    found = index(remote, pushed(project))
    assert len(found) == 3  # of 10 bytes a file, five are a pack's 50
    without_loose_objects(remote)
    assert pulled(project) == CONTENT


def test_a_pack_with_other_bytes_is_not_believed(project: Path, remote: Any) -> None:
    value = pushed(project)
    fs, prefix = remote
    for name in index(remote, value):
        path = f"{prefix}/packs/{name}.tar"
        fs.pipe_file(path, fs.cat_file(path).replace(b"file", b"evil"))
    assert pulled(project) == CONTENT
    assert not [*(project / "empty").rglob("*.tmp")]


@pytest.mark.parametrize("damage", [b"", b"[]", b'{"0": 1}', b'{"0": []}'])
def test_a_damaged_index_or_pack_costs_time_alone(project: Path, remote: Any, damage: bytes) -> None:
    value = pushed(project)
    fs, prefix = remote
    fs.pipe_file(f"{prefix}/packs/{value.removesuffix('.dir')}.json", damage)
    assert pulled(project) == CONTENT


def test_new_files_make_a_new_pack_beside_the_full_ones(project: Path, remote: Any) -> None:
    before = index(remote, pushed(project))
    for number in range(FILES, FILES + 3):
        (project / "data" / str(number)).write_text(f"file {number:5}")
    after = index(remote, pushed(project))
    full = {name for name, members in before.items() if len(members) == 5}
    assert len(full) == 2
    assert full <= after.keys()
    (new,) = (members for name, members in after.items() if name not in full)
    assert len(new) == FILES + 3 - 10  # the pack of two was packed again


def test_a_pack_that_is_needed_no_longer_is_not_named_again(project: Path, remote: Any) -> None:
    before = index(remote, pushed(project))
    for number in range(FILES):
        (project / "data" / str(number)).write_text(f"text {number:5}")
    assert not before.keys() & index(remote, pushed(project)).keys()
    assert set(pulled(project).values()) == {f"text {number:5}" for number in range(FILES)}


def test_small_folders_have_no_packs(project: Path, remote: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packs, "FEWEST", FILES + 1)
    pushed(project)
    assert not remote[0].exists(f"{remote[1]}/packs")
