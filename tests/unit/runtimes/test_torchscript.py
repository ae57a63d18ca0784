from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from alambique.files import sha256

WRITE = """
import sys
from pathlib import Path
from factories import tiny_exportables
from alambique.process.environment import prepare
prepare()
from alambique.runtimes import load
{indirection}
write(tiny_exportables.exportable(tiny_exportables.Classifier()), Path(sys.argv[1]))
"""
DIRECT = "write = load('torchscript').write"
FROM_ELSEWHERE = "def write(network, path):\n    load('torchscript').write(network, path)"


def test_fresh_processes_write_equal_files_wherever_they_are_called_from(tmp_path: Path) -> None:
    tests = str(Path(__file__).parents[2])
    for name, indirection in (("first", DIRECT), ("second", FROM_ELSEWHERE)):
        (tmp_path / name).mkdir()
        script = f"import sys; sys.path.insert(0, {tests!r})\n" + WRITE.format(indirection=indirection)
        command = [sys.executable, "-c", script, f"{tmp_path}/{name}/model.torchscript"]
        subprocess.run(command, check=True, capture_output=True)
    assert sha256(tmp_path / "first/model.torchscript") == sha256(tmp_path / "second/model.torchscript")
