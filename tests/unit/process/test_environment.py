from __future__ import annotations

import subprocess
import sys

CODE = """
from alambique.process.environment import prepare
prepare()
import nncf.telemetry.wrapper, openvino.tools.ovc.convert_impl
print(type(nncf.telemetry.wrapper.telemetry).__name__, openvino.tools.ovc.convert_impl.tm.__name__)
"""


def test_no_library_of_a_stage_calls_home() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "MagicMock openvino.tools.ovc.telemetry_stub"
