from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from alambique.process.environment import errors_exit

CODE = """
from alambique.process.environment import prepare
prepare()
import nncf.telemetry.wrapper, openvino.tools.ovc.convert_impl
print(type(nncf.telemetry.wrapper.telemetry).__name__, openvino.tools.ovc.convert_impl.tm.__name__)
"""


def test_no_library_of_a_stage_calls_home() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "MagicMock openvino.tools.ovc.telemetry_stub"


def test_an_error_of_the_file_system_is_one_line_and_its_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a").write_text("a file")
    with pytest.raises(SystemExit) as end, errors_exit():
        (tmp_path / "a" / "b").mkdir()
    assert end.value.code == 74
    assert capsys.readouterr().err == (
        f"FileError: {tmp_path}/a/b: Not a directory; correct the path, or what lies there\n"
    )


def test_any_other_error_keeps_its_traceback() -> None:
    with pytest.raises(ConnectionError, match="no route"), errors_exit():
        raise ConnectionError("no route")
