"""A deployment on this machine: Airflow, MLflow and S3 on loopback, all they keep inside the project's .alambique/.

Airflow runs on SQLite with the simple auth manager, everyone an admin: right for one person on loopback, and for
nothing else.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from alambique import config, tasks
from alambique.config.deployment import Deployment
from alambique.errors import AlambiqueError
from alambique.local import s3

AIRFLOW = "http://127.0.0.1:8080"
MLFLOW = "http://127.0.0.1:5000"
AIRFLOW_PARTS = (
    ("api-server",),
    ("scheduler", "--skip-serve-logs"),
    ("dag-processor",),
    ("triggerer", "--skip-serve-logs"),
)
"""What `airflow standalone` starts, whose servers of logs listen on all interfaces: the logs lie on this machine."""


ALONE = {
    "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
    "AIRFLOW__CORE__AUTH_MANAGER": "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager",
}
"""What `airflow standalone` sets, whatever this machine's environment says."""


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
        # Two trainings at once fill a small machine; a person's answer or new data must not wait for their end.
        "AIRFLOW__CORE__PARALLELISM": "4",
        "AIRFLOW__CORE__MAX_ACTIVE_TASKS_PER_DAG": "2",
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__SECRET_KEY": _secret(home / "api-secret"),
        "AIRFLOW__API_AUTH__JWT_SECRET": _secret(home / "jwt-secret"),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
    }


def runner_environment(project: Path) -> dict[str, str]:
    """Environment variables for `alambique.airflow.dag_runner`: two tasks at a time, on one thread each.

    Networks as small as a demo's train twice as fast on one thread as on two.
    """
    return {
        **airflow_environment(project),
        "AIRFLOW__CORE__EXECUTOR": "alambique.airflow.executor.ForkExecutor",
        "AIRFLOW__CORE__PARALLELISM": "2",
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
    }


def _secret(path: Path) -> str:
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(secrets.token_hex(32))
    return path.read_text()


def up(project: Path) -> None:
    """Run Airflow, MLflow and an S3 server for the project until interrupted; none outlives this process.

    S3 is served only where the project names no place for arrivals, production images and releases.

    Raises:
        AlambiqueError: one of them ended by itself.
    """
    deployment = Deployment.load(project)
    binaries = os.fspath(Path(sys.executable).parent)
    # Airflow starts its parts by the name `airflow`.
    path = os.pathsep.join([binaries, os.environ.get("PATH", os.defpath)])
    environment = {**os.environ, **airflow_environment(project), **ALONE, "PATH": path, "DO_NOT_TRACK": "true"}
    _migrate(environment)
    servers = [Server(["airflow", *part], environment) for part in AIRFLOW_PARTS]
    lines = [f"Airflow  {AIRFLOW}"]
    if deployment.tracking_uri and deployment.tracking_uri.startswith("sqlite:"):
        serve = ["server", "--host", "127.0.0.1", "--port", "5000", "--workers", "1"]
        servers.append(Server(["mlflow", *serve, "--backend-store-uri", deployment.tracking_uri], environment))
        lines.append(f"MLflow   {MLFLOW}")
    if (weed := s3.program()) and not (deployment.arrivals or deployment.production or deployment.releases):
        home = project.resolve() / ".alambique" / "s3"
        configuration = s3.configuration(home)
        params = config.load(project)
        places = s3.places(params.project, tasks.load(params.task).abilities)
        environment |= {"AWS_CONFIG_FILE": str(configuration), **places}
        (home / "files").mkdir(exist_ok=True)
        served = s3.command(weed, home / "files", s3.PORTS)
        # Its log names every file.
        servers.insert(0, Server(served, {**os.environ, **s3.keys(configuration)}, home / "log"))
        lines += [f"S3       {s3.ENDPOINT}, keys in {configuration}"]
        lines += [f"         {place}" for place in places.values()]
    print("\n".join([*lines, "Ctrl-C ends all."]), flush=True)  # noqa: T201
    _serve(servers)


def _migrate(environment: dict[str, str]) -> None:
    """Make Airflow's database, or bring it up to this version."""
    done = subprocess.run(
        ["airflow", "db", "migrate"], env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=False
    )
    if done.returncode:
        raise AlambiqueError(f"`airflow db migrate` ended with exit code {done.returncode}; its output is above")


class Server(NamedTuple):
    """A process to be kept running.

    Attributes:
        log: where its output goes; None: to the terminal.
    """

    command: list[str]
    environment: dict[str, str]
    log: Path | None = None

    def start(self) -> subprocess.Popen[bytes]:
        """Start it as the leader of a process group."""
        with contextlib.ExitStack() as stack:
            output = stack.enter_context(self.log.open("wb")) if self.log else None
            return subprocess.Popen(
                self.command, env=self.environment, stdout=output, stderr=output, start_new_session=True
            )


def _serve(servers: list[Server]) -> None:
    children = [server.start() for server in servers]
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        while True:
            for server, child in zip(servers, children, strict=True):
                if child.poll() is not None:
                    raise AlambiqueError(
                        f"`{' '.join(server.command[:2])}` ended with exit code {child.returncode}; its output is "
                        f"{f'in {server.log}' if server.log else 'above'}. Is its port taken?"
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
