from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from factories.runner_project import DIAMOND, Project

from alambique.pipeline.dvc_repository import lock_entries

KINDS = {
    **DIAMOND,
    "folder": {
        "cmd": "mkdir -p made metrics && cp data/a.txt made/a && cp parts/left made/b && echo 1 > metrics/folder.json",
        "deps": ["data", "parts", "total"],
        "params": ["folder", {"other.yaml": ["rate"]}],
        "outs": ["made"],
        "metrics": ["metrics/folder.json"],
    },
}
"""Outs that are files and folders, metrics, params of several files, deps that are folders of outs."""


def test_a_lock_entry_is_what_dvc_repro_writes(tmp_path: Path) -> None:
    project = Project(tmp_path, KINDS)
    project.write("other.yaml", "rate: 1e-3\n")
    project.param("folder", {"deep": [1, 2.5e-7, None, "1e-3"], "text": "ü"})
    runners = {name: result.entry for name, result in project.run(project.snapshot()).items()}
    subprocess.run([sys.executable, "-m", "dvc", "repro", "--quiet"], cwd=project.checkout, check=True)
    dvcs = lock_entries(project.checkout)
    # Where both stages' outs lie in one folder, DVC has put a .gitignore beside them, which the folder's hash includes.
    for entries in (runners, dvcs):
        for name in ("total", "folder"):
            (parts,) = (dep for dep in entries[name]["deps"] if dep["path"] == "parts")
            parts |= {"md5": "", "size": 0, "nfiles": 0}
    assert json.dumps(runners, sort_keys=True) == json.dumps(dvcs, sort_keys=True)
