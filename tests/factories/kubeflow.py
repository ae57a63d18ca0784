"""The environment in which kfp lies: beside Airflow's Kubernetes provider it cannot."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import yaml

from factories.airflow_project import SOURCE

IMAGE = "ghcr.io/me/alambique@sha256:" + "0" * 64


def python() -> Path:
    """Its interpreter; skips the test where there is none."""
    path = Path(os.environ.get("ALAMBIQUE_KUBEFLOW_PYTHON", SOURCE / ".venv-kubeflow" / "bin" / "python"))
    if not path.exists():
        pytest.skip(f"there is no environment with kfp at {path}: `make test` builds it")
    return path


def compiled(project: Path, target: Path) -> list[dict]:  # type: ignore[type-arg]
    """The specification of a project, by the command line, written to `target`: pipeline, and platform if any."""
    command = [python(), "-m", "alambique", "kubeflow", "compile", "--project", project, "--output", target]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return list(yaml.safe_load_all(target.read_text()))
