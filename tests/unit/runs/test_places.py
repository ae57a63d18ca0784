from __future__ import annotations

from pathlib import Path

import pytest

from alambique.errors import ConfigurationError, FileError
from alambique.git import git
from alambique.runs import places

SECRETS = ["http://me:s3cr3t@host/x", "HTTPS://s3cr3t@host/x", "postgresql+psycopg2://me:s3cr3t@host/x"]


@pytest.mark.parametrize("url", SECRETS)
def test_credentials_are_refused_wherever_they_are_given(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", url)
    for place, words in (
        (lambda: places.origin(url), "--origin: .*credential helper"),
        (lambda: places.remote(url), "--remote: .*dvc remote modify --local"),
        (places.tracking_uri, "MLFLOW_TRACKING_URI: .*MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"),
    ):
        with pytest.raises(ConfigurationError, match=words) as refusal:
            place()
        assert "s3cr3t" not in str(refusal.value)


def test_an_mlflow_that_nothing_can_talk_to_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "ftp://host/x")
    with pytest.raises(ConfigurationError, match=r"MLFLOW_TRACKING_URI: .*'ftp'"):
        places.tracking_uri()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("gs://bucket/x", r'dvc-gs; run `pip install "dvc\[gs\]"'),
        ("azure://container/x", r'dvc-azure; run `pip install "dvc\[azure\]"'),
        ("ssh://me@host/x", r'dvc-ssh; run `pip install "dvc\[ssh\]"'),
        ("webdavs://host/x", r'dvc-webdavs?; run `pip install "dvc\[webdav\]"'),
        ("S3://bucket/x", "DVC has no remotes of S3://"),
        ("ftp://host/x", "DVC has no remotes of ftp://"),
    ],
)
def test_a_remote_that_dvc_cannot_reach_here_is_refused(url: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        places.remote(url)


def test_a_remote_and_an_origin_by_relative_paths_are_the_same_for_every_clone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git("init", "--quiet", "--bare", str(tmp_path / "team.git"))
    monkeypatch.chdir(tmp_path)
    assert places.origin("team.git") == str(tmp_path / "team.git")
    assert places.remote("storage") == str(tmp_path / "storage")
    assert places.remote("s3://bucket/x") == "s3://bucket/x"


def test_an_origin_with_commits_or_none_at_all_is_refused(tmp_path: Path) -> None:
    git("init", "--quiet", "--initial-branch=main", str(tmp_path / "full"))
    git("-c", "commit.gpgsign=false", "commit", "--quiet", "--allow-empty", "--message=x", cwd=tmp_path / "full")
    with pytest.raises(ConfigurationError, match=r"--origin: .*full is not empty: it has"):
        places.origin(str(tmp_path / "full"))
    with pytest.raises(ConfigurationError, match=r"--origin: .*make an empty repository there first") as refusal:
        places.origin(str(tmp_path / "nowhere"))
    assert "\n" not in str(refusal.value)
    with pytest.raises(ConfigurationError, match="--origin: begins with a hyphen"):
        places.origin("--upload-pack=evil")


def test_a_folder_that_cannot_be_a_projects_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError, match="file is a file"):
        places.require_folder(tmp_path / "file/cells")
    for name in ("why?", "{x}", "two\nlines"):
        with pytest.raises(ConfigurationError, match="choose another folder"):
            places.require_folder(tmp_path / name / "cells")
