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


ECHO = """
import os, sys
print(os.environ.get("AWS_SECRET_ACCESS_KEY"), file=sys.stderr)
while len(content := sys.stdin.buffer.read(3)) == 3:
    if content == b"bad":
        sys.exit("not that")
    sys.stdout.buffer.write(content[::-1])
    sys.stdout.buffer.flush()
"""


def test_a_server_answers_until_it_is_dropped_and_says_why_it_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a secret")
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "echo.py").write_text(ECHO)
    server = sandbox.Server("echo", tmp_path / "given.pt")
    for content in (b"abc", b"xyz"):
        server.send(content)
        assert server.receive(3) == content[::-1]
    server.send(b"bad")
    with pytest.raises(DataError, match=r"cannot use .*given\.pt: not that"):
        server.receive(3)
    with pytest.raises(DataError, match="not that"):
        server.send(b"abc")
    dropped = sandbox.Server("echo", tmp_path / "given.pt")
    child = dropped._child
    del dropped
    assert child.returncode == 0
