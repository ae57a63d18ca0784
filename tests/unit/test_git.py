from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alambique import git
from alambique.errors import AlambiqueError, ConfigurationError
from alambique.registry.ledger import Ledger

OPTIONS = ["--detach", "--pathspec-from-file=/etc/passwd", "-b", "--orphan=x"]
IMPOSSIBLE = [
    "",
    "@",
    "a..b",
    "a.lock",
    "a.lock/b",
    ".a",
    "a/.b",
    "a/",
    "/a",
    "a//b",
    "a b",
    "a~1",
    "a^",
    "a:b",
    "a\\b",
]
IMPOSSIBLE += ["a?", "a*", "a[", "a.", "a@{1}", "a\n", "a\0b", "a\x7f", "a\ud800", "a" * 201]


@pytest.mark.parametrize("name", [*OPTIONS, *IMPOSSIBLE])
def test_what_is_no_refs_name_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="no name of a branch"):
        git.ref(name)


@pytest.mark.parametrize("name", ["main", "feature/a-b", "runs/20260101-abc", "refs/tags/v1.0", "a", "0" * 40, "größe"])
def test_ordinary_names_are_taken(name: str) -> None:
    assert git.ref(name) == name


@settings(max_examples=60, deadline=None)
@given(st.text(st.sampled_from("ab-./@{~^:?*[\\ \n\0lock"), min_size=1, max_size=8))
def test_git_takes_every_name_that_is_taken(name: str) -> None:
    try:
        git.ref(name)
    except ConfigurationError:
        return
    subprocess.run(["git", "check-ref-format", f"refs/heads/{name}"], check=True)


@pytest.mark.parametrize("name", OPTIONS)
def test_a_revision_never_is_an_option_of_checkout(tmp_path: Path, name: str) -> None:
    git.git("init", "--quiet", cwd=tmp_path)
    with pytest.raises(ConfigurationError):
        git.checkout(name, tmp_path)


def test_an_address_never_is_an_option(tmp_path: Path) -> None:
    evil = f"--upload-pack=touch {tmp_path / 'ran'};"
    for use in (lambda: Ledger(evil, "cells-onnx").read(), lambda: git.clone(evil, tmp_path / "clone")):
        with pytest.raises(AlambiqueError):
            use()
    assert not (tmp_path / "ran").exists()
