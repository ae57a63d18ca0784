"""A deployment on this machine: Airflow and MLflow on loopback, everything they keep inside the project's .alambique/.

Airflow runs on SQLite with the simple auth manager, everyone an admin: right for one person on loopback, and for
nothing else.
"""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from pathlib import Path

from alambique.deployment import Deployment
from alambique.errors import AlambiqueError

AIRFLOW = "http://127.0.0.1:8080"
MLFLOW = "http://127.0.0.1:5000"


def airflow_environment(project: Path) -> dict[str, str]:
    """Environment variables under which Airflow serves the project's dags/.

    They must be set before Airflow is imported: it reads its configuration then.
    """
    home = project.resolve() / ".alambique" / "airflow"
    home.mkdir(parents=True, exist_ok=True)
    return {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(project.resolve() / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",  # a challenger is promoted without a click
        "AIRFLOW__CORE__PARALLELISM": "2",
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__SECRET_KEY": _secret(home / "api-secret"),
        "AIRFLOW__API_AUTH__JWT_SECRET": _secret(home / "jwt-secret"),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
    }


def _secret(path: Path) -> str:
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(secrets.token_hex(32))
    return path.read_text()


def up(project: Path) -> None:
    """Run Airflow and MLflow for the project until interrupted; neither outlives this process.

    Raises:
        AlambiqueError: one of them ended by itself.
    """
    deployment = Deployment.load(project)
    binaries = os.fspath(Path(sys.executable).parent)
    # Airflow's standalone starts its parts by the name `airflow`.
    path = os.pathsep.join([binaries, os.environ.get("PATH", os.defpath)])
    environment = {**os.environ, **airflow_environment(project), "PATH": path, "DO_NOT_TRACK": "true"}
    commands = [["airflow", "standalone"]]
    if deployment.tracking_uri and deployment.tracking_uri.startswith("sqlite:"):
        serve = ["server", "--host", "127.0.0.1", "--port", "5000", "--workers", "1"]
        commands.append(["mlflow", *serve, "--backend-store-uri", deployment.tracking_uri])
    print(f"Airflow  {AIRFLOW}\nMLflow   {MLFLOW}\nCtrl-C ends both.", flush=True)  # noqa: T201
    children = [subprocess.Popen(command, env=environment, start_new_session=True) for command in commands]
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        while True:
            for command, child in zip(commands, children, strict=True):
                if child.poll() is not None:
                    raise AlambiqueError(
                        f"`{' '.join(command[:2])}` ended with exit code {child.returncode}; its output is above. "
                        "Is its port taken?"
                    )
            time.sleep(0.5)
    except KeyboardInterrupt:
        pass
    finally:
        for child in children:
            _stop(child)


def _stop(child: subprocess.Popen[bytes]) -> None:
    """End a server and everything it started: politely, then for good."""
    for name in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(child.pid, name)
            child.wait(timeout=10)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue
