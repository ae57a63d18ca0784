from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from factories.airflow_project import SOURCE

# Airflow reads its configuration when it is imported, and would make itself a home in the user's.
_HOME = tempfile.TemporaryDirectory(prefix="alambique-airflow-")
os.environ["AIRFLOW_HOME"] = _HOME.name


@pytest.fixture(scope="session")
def base_python() -> Path:
    """The interpreter of the base-only environment, in which Airflow's side must work."""
    path = Path(os.environ.get("ALAMBIQUE_AIRFLOW_PYTHON", SOURCE / ".venv-airflow" / "bin" / "python"))
    if not path.exists():
        pytest.skip(f"there is no base-only environment at {path}: `make test` builds it")
    return path
