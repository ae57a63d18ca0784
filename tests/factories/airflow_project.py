"""A project as its DAG files see it, and an Airflow that knows it alone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from alambique.git import git
from alambique.pipeline import expansion

SOURCE = Path(__file__).parents[2]
DAGS = ("dags/distill.py", "dags/ingest.py", "dags/promote.py", "dags/watch_drift.py")


def lay_out(root: Path, python: Path | None = None, deployment: Mapping[str, Any] | None = None, **params: Any) -> Path:
    """The reference pipeline and DAGs in the folder `root`.

    Args:
        python: the deployment's ML interpreter.
        deployment: further fields of alambique.yaml.
        params: over those of params.yaml.
    """
    for name in ("dvc.yaml", "versions.yaml", *DAGS):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(SOURCE / name, root / name)
    content = yaml.safe_load((SOURCE / "params.yaml").read_text()) | params
    (root / "params.yaml").write_text(yaml.safe_dump(content))
    here = {"origin": str(root / "origin.git"), "home": str(root), "python": str(python or sys.executable)}
    (root / "alambique.yaml").write_text(yaml.safe_dump({**here, **(deployment or {})}))
    subprocess.run([sys.executable, "-m", "dvc", "init", "--no-scm", "--quiet"], cwd=root, check=True)
    expansion.write(root)
    return root


def environment(home: Path, project: Path) -> dict[str, str]:
    """Variables for a process in which Airflow keeps its state in `home`."""
    return os.environ | {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(project / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "false",
    }


def make_origin(project: Path) -> Path:
    """The git repository that the project's deployment names, with what lies in the project on its branch main."""
    origin = project / "origin.git"
    git("init", "--quiet", "--bare", "--initial-branch=main", str(origin))
    git("init", "--quiet", "--initial-branch=main", cwd=project)
    git("add", "params.yaml", "dvc.yaml", "pipeline.json", cwd=project)
    git("commit", "--quiet", "--message", "Begin", cwd=project)
    git("push", "--quiet", str(origin), "main", cwd=project)
    return origin


def stand_in(folder: Path) -> Path:
    """An ML interpreter, an executable in `folder`, whose verbs are those of airflow/verbs.py."""
    python = folder / "stand-in"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{SOURCE / "tests" / "airflow" / "verbs.py"}" "$@"\n')
    python.chmod(0o755)
    return python
