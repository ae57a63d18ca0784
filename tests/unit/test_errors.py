from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest

from alambique import errors


@pytest.mark.parametrize("error", [errors.DataError("a"), errors.ConfigurationError("b"), errors.TransientError("c")])
def test_an_error_arrives_as_it_was_raised(
    error: errors.AlambiqueError, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(errors.ERROR_FILE, str(tmp_path / "error.json"))
    errors.write_error(error)
    arrived = errors.read_error(tmp_path / "error.json")
    assert (type(arrived), str(arrived)) == (type(error), str(error))


def test_an_error_nobody_foresaw_keeps_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(errors.ERROR_FILE, str(tmp_path / "error.json"))
    errors.write_error(KeyError("x"))
    arrived = errors.read_error(tmp_path / "error.json")
    assert type(arrived) is errors.AlambiqueError
    assert str(arrived) == "KeyError: 'x'"


def test_no_error_is_left_where_none_was_raised(tmp_path: Path) -> None:
    assert errors.read_error(tmp_path / "error.json") is None


def test_nothing_is_written_when_nobody_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(errors.ERROR_FILE, raising=False)
    monkeypatch.chdir(tmp_path)
    errors.write_error(errors.DataError("a"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("number", "kind"),
    [(errno.ENOSPC, errors.TransientError), (errno.EACCES, errors.FileError), (errno.ENOTDIR, errors.FileError)],
)
def test_an_error_of_the_file_system_names_the_path(number: int, kind: type[errors.AlambiqueError]) -> None:
    error = errors.from_os(OSError(number, os.strerror(number), "/data/x"))
    assert type(error) is kind
    assert str(error).startswith(f"/data/x: {os.strerror(number)}; ")


def test_a_tree_that_could_not_be_copied_names_its_first_file(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/dangling").symlink_to("nowhere")
    with pytest.raises(shutil.Error) as failure:
        shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert str(errors.from_os(failure.value)).startswith(
        f"cannot copy {tmp_path}/a/dangling to {tmp_path}/b/dangling: "
    )


def test_errors_that_libraries_derive_from_the_systems_are_none_of_a_file() -> None:
    assert errors.from_os(ConnectionError("no route")) is None


def test_an_error_file_that_could_not_be_written_whole_is_none(tmp_path: Path) -> None:
    (tmp_path / "error.json").write_text("")
    assert errors.read_error(tmp_path / "error.json") is None


def test_a_secret_does_not_reach_the_parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(errors.ERROR_FILE, str(tmp_path / "error.json"))
    errors.write_error(errors.TransientError("git fetch failed: https://me:secret@host/x is gone"))
    assert str(errors.read_error(tmp_path / "error.json")) == "git fetch failed: https://…@host/x is gone"


def test_exit_codes_are_those_of_sysexits() -> None:
    codes = {kind: kind.exit_code for kind in (errors.DataError, errors.ConfigurationError, errors.TransientError)}
    assert list(codes.values()) == [65, 78, 75]
