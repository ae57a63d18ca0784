from __future__ import annotations

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


def test_exit_codes_are_those_of_sysexits() -> None:
    codes = {kind: kind.exit_code for kind in (errors.DataError, errors.ConfigurationError, errors.TransientError)}
    assert list(codes.values()) == [65, 78, 75]
