"""An Airflow of several machines, on one: servers on loopback, workers that share no disk.

PostgreSQL, S3, MLflow with users, git and, for Celery, Redis are real servers. Each worker has a home of its own.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.fernet import Fernet
from tests.airflow.servers import PASSWORD, USER, Airflow

from factories.ports import free_ports
from factories.postgresql import postgresql
from factories.s3 import s3_server

BIN = Path(sys.executable).parent
MLFLOW_PASSWORD = "mlflow's own word"


@dataclass
class Servers:
    """What is running, and the environment variables of all of it.

    Attributes:
        folder: for the logs, and for one home a machine.
    """

    folder: Path
    environment: dict[str, str]
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, name: str, *command: str | Path, **variables: str) -> None:
        """Start a server as the leader of a process group; its output goes to `<name>.log`."""
        with (self.folder / f"{name}.log").open("ab") as log:
            environment = {**self.environment, **variables}
            self.running[name] = subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    def machine(self, name: str) -> dict[str, str]:
        """The variables of a machine that shares no folder with another."""
        home = self.folder / name
        home.mkdir(exist_ok=True)
        return {
            "AIRFLOW_HOME": str(home / "airflow"),
            "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_STORAGE_PATH": str(home / "dags"),
            "ALAMBIQUE_HOME": str(home / "alambique"),
        }

    def stop(self) -> None:
        for server in self.running.values():
            if server.poll() is None:
                os.killpg(server.pid, 9)
            server.wait()


@contextmanager
def services(folder: Path) -> Iterator[Servers]:
    """PostgreSQL, S3, git and MLflow, which asks for a password; $AWS_* lead to S3."""
    with ExitStack() as stack:
        stack.enter_context(s3_server(folder / "s3"))
        database = stack.enter_context(postgresql("airflow", "mlflow"))
        servers = Servers(folder, {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"})
        stack.callback(servers.stop)
        servers.environment |= {"DATABASE": database, **_git(servers), **_mlflow(servers, database)}
        yield servers


def _git(servers: Servers) -> dict[str, str]:
    repositories, (port,) = servers.folder / "git", free_ports(1)
    subprocess.run(["git", "init", "--quiet", "--bare", "-b", "main", repositories / "tiny.git"], check=True)
    options = ["--reuseaddr", "--export-all", "--enable=receive-pack", "--listen=127.0.0.1", f"--port={port}"]
    servers.start("git", "git", "daemon", *options, f"--base-path={repositories}")
    return {"ALAMBIQUE_ORIGIN": f"git://127.0.0.1:{port}/tiny.git"}


def _mlflow(servers: Servers, database: str) -> dict[str, str]:
    (port,), users = free_ports(1), servers.folder / "users.ini"
    users.write_text(
        "[mlflow]\ndefault_permission = NO_PERMISSIONS\nadmin_username = admin\n"
        f"admin_password = {MLFLOW_PASSWORD}\ndatabase_uri = sqlite:///{servers.folder}/users.db\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
    )
    serve = ["server", "--app-name", "basic-auth", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    stores = ["--backend-store-uri", f"postgresql+psycopg2://{database}/mlflow", "--artifacts-destination"]
    variables = {"MLFLOW_AUTH_CONFIG_PATH": str(users), "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_hex(16)}
    servers.start("mlflow", BIN / "mlflow", *serve, *stores, "s3://bucket/mlflow", **variables)
    uri = f"http://127.0.0.1:{port}"
    _until(lambda: httpx.get(f"{uri}/health").is_success, servers, "mlflow")
    assert httpx.get(f"{uri}/api/2.0/mlflow/experiments/get?experiment_id=0").status_code == 401
    user = {"MLFLOW_TRACKING_USERNAME": "admin", "MLFLOW_TRACKING_PASSWORD": MLFLOW_PASSWORD}
    return {"MLFLOW_TRACKING_URI": uri, "ALAMBIQUE_TRACKING_URI": uri, **user}


@contextmanager
def airflow(servers: Servers, workers: Mapping[str, list[str]]) -> Iterator[Airflow]:
    """Airflow with the DAGs of the project's repository: CeleryExecutor where there are workers, else LocalExecutor.

    Args:
        workers: the queues of each.
    """
    broker = _redis(servers) if workers else {}
    port, triggerer, *logs = free_ports(2 + len(workers))
    passwords = servers.folder / "passwords.json"
    passwords.write_text(json.dumps({USER: PASSWORD}))
    bundle = {"repo_url": servers.environment["ALAMBIQUE_ORIGIN"], "tracking_ref": "main", "subdir": "dags"}
    classpath = "airflow.providers.git.bundles.git.GitDagBundle"
    bundles = [{"name": "tiny", "classpath": classpath, "kwargs": {**bundle, "refresh_interval": 5}}]
    options = {
        "API__BASE_URL": f"http://127.0.0.1:{port}",
        "API__HOST": "127.0.0.1",
        "API__PORT": port,
        "API__SECRET_KEY": secrets.token_hex(16),
        "API__WORKERS": 1,
        "API_AUTH__JWT_SECRET": secrets.token_hex(32),
        "CORE__DAGS_ARE_PAUSED_AT_CREATION": False,
        "CORE__EXECUTOR": "CeleryExecutor" if workers else "LocalExecutor",
        "CORE__FERNET_KEY": Fernet.generate_key().decode(),
        "CORE__LOAD_EXAMPLES": False,
        "CORE__PARALLELISM": 2,
        "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": passwords,
        "CORE__SIMPLE_AUTH_MANAGER_USERS": f"{USER}:admin",
        "DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps(bundles),
        "DATABASE__SQL_ALCHEMY_CONN": f"postgresql+psycopg2://{servers.environment['DATABASE']}/airflow",
        **broker,
    }
    servers.environment |= {f"AIRFLOW__{name}": str(value) for name, value in options.items()}
    control = servers.machine("control")
    subprocess.run([BIN / "airflow", "db", "migrate"], env=servers.environment | control, check=True)
    for part in ("api-server", "scheduler", "dag-processor", "triggerer"):
        log = {"AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(triggerer)}
        servers.start(part, BIN / "airflow", part, **control, **log)
    for (name, queues), log_port in zip(workers.items(), logs, strict=True):
        log = {"AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(log_port)}
        celery = ["celery", "worker", "--concurrency", "1", "--queues", ",".join(queues)]
        servers.start(name, BIN / "airflow", *celery, "--celery-hostname", name, **servers.machine(name), **log)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
        _until(lambda: _healthy(client), servers, "api-server")
        token = client.post("/auth/token", json={"username": USER, "password": PASSWORD}).json()
        client.headers["Authorization"] = f"Bearer {token['access_token']}"
        client.base_url = client.base_url.join("/api/v2")
        yield Airflow(client, servers.folder / "scheduler.log")


def _redis(servers: Servers) -> dict[str, Any]:
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("needs Redis: `apt-get install redis-server`")
    (port,) = free_ports(1)
    servers.start("redis", program, "--port", str(port), "--bind", "127.0.0.1", "--save", "")
    return {
        "CELERY__BROKER_URL": f"redis://127.0.0.1:{port}/0",
        "CELERY__RESULT_BACKEND": f"db+postgresql+psycopg2://{servers.environment['DATABASE']}/airflow",
    }


def _healthy(client: httpx.Client) -> bool:
    parts = client.get("/api/v2/monitor/health").json()
    return all(parts[part]["status"] == "healthy" for part in ("scheduler", "triggerer", "dag_processor"))


def _until(condition: Any, servers: Servers, name: str) -> None:
    end = time.monotonic() + 300
    while time.monotonic() < end:
        try:
            if condition():
                return
        except (httpx.HTTPError, ValueError):
            pass
        time.sleep(0.5)
    raise TimeoutError(f"{name} did not come up\n{(servers.folder / f'{name}.log').read_text()[-10_000:]}")
