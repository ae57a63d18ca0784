"""A project as its DAG files see it, and an Airflow that knows it alone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from alambique import expansion

SOURCE = Path(__file__).parents[1]


def lay_out(root: Path, python: Path | None = None, **params: Any) -> Path:
    """The reference pipeline and DAGs in the folder `root`.

    Args:
        python: the deployment's ML interpreter.
        params: over those of params.yaml.
    """
    for name in ("dvc.yaml", "versions.yaml", "dags/distill.py", "dags/promote.py"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(SOURCE / name, root / name)
    content = yaml.safe_load((SOURCE / "params.yaml").read_text()) | params
    (root / "params.yaml").write_text(yaml.safe_dump(content))
    deployment = {"origin": str(root / "origin.git"), "home": str(root), "python": str(python or sys.executable)}
    (root / "alambique.yaml").write_text(yaml.safe_dump(deployment))
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
