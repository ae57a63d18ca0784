from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from alambique.errors import DataError
from alambique.process import sandbox

SPY = """
import json, os, pathlib, sys
pathlib.Path(sys.argv[2]).write_text(json.dumps(dict(os.environ)))
"""


def test_the_child_has_no_credentials_and_a_home_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a secret")
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "spy.py").write_text(SPY)
    sandbox.run("spy", tmp_path / "given.pt", str(tmp_path / "seen.json"))
    seen = json.loads((tmp_path / "seen.json").read_text())
    assert "a secret" not in seen.values()
    assert seen["HOME"] != os.environ["HOME"]
    assert not Path(seen["HOME"]).exists()
    assert seen["ULTRALYTICS_SAFE_LOAD"] == "1"


def test_a_child_that_fails_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "picky.py").write_text("import sys\nsys.exit('not today')")
    with pytest.raises(DataError, match=r"cannot use .*given\.pt: not today"):
        sandbox.run("picky", tmp_path / "given.pt")
