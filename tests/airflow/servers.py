"""A whole Airflow on loopback: scheduler, DAG processor, triggerer, API server, as `alambique up` configures them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from factories.ports import free_ports

from alambique.local.services import airflow_environment

USER = "ana"
PASSWORD = "a loopback's"
FINAL = {"success", "failed"}


@dataclass(frozen=True)
class Airflow:
    """Its REST API, as the user ana.

    Attributes:
        log: what the servers said.
    """

    client: httpx.Client
    log: Path

    def get(self, path: str, **parameters: Any) -> Any:
        answer = self.client.get(path, params=parameters)
        answer.raise_for_status()
        return answer.json()

    def trigger(self, dag: str, conf: dict[str, Any]) -> str:
        """Start a run by hand and return its id."""
        answer = self.client.post(f"/dags/{dag}/dagRuns", json={"conf": conf, "logical_date": None})
        answer.raise_for_status()
        return str(answer.json()["dag_run_id"])

    def respond(self, dag: str, run: str, option: str, why: str) -> None:
        """Answer the task `approve`, as somebody does in the UI, and once more where it asks again; see `waiting`."""
        path = f"/dags/{dag}/dagRuns/{run}/taskInstances/approve/-1/hitlDetails"

        def taken() -> bool:
            state = self.tasks(dag, run)["approve"]
            if state == "awaiting_input" and not self.get(path)["response_received"]:
                answer = self.client.patch(path, json={"chosen_options": [option], "params_input": {"why": why}})
                answer.raise_for_status()
            return state == "success"

        self.eventually(taken, f"the answer to {run} of {dag} to be taken")

    def runs(self, dag: str) -> dict[str, str]:
        """The state of each of its runs, oldest first."""
        runs = self.get(f"/dags/{dag}/dagRuns", order_by="id")["dag_runs"]
        return {run["dag_run_id"]: run["state"] for run in runs}

    def tasks(self, dag: str, run: str) -> dict[str, str]:
        """The state of each task of a run."""
        tasks = self.get(f"/dags/{dag}/dagRuns/{run}/taskInstances")["task_instances"]
        return {task["task_id"]: task["state"] for task in tasks}

    def ended(self, dag: str, run: str) -> dict[str, str]:
        """The state of each task once the run has ended."""
        self.eventually(lambda: self.runs(dag)[run] in FINAL, f"{run} of {dag} to end")
        return self.tasks(dag, run)

    def waiting(self, dag: str, run: str) -> None:
        """Return when the run asks a person, and has done so for as long as a person takes at least.

        Airflow 3.3 takes a task for crashed whose answer comes before its scheduler heard of the pause, and asks again.
        """
        self.eventually(lambda: self.tasks(dag, run).get("approve") == "awaiting_input", f"{run} of {dag} to ask")
        time.sleep(5)

    def eventually(self, condition: Callable[[], object], what: str, seconds: float = 180) -> None:
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                raise TimeoutError(f"waited {seconds:.0f} s for {what}\n{self.log.read_text()[-20_000:]}")
            time.sleep(0.5)


@contextmanager
def serve(project: Path) -> Iterator[Airflow]:
    """Airflow for the DAGs of `project`, gone with everything that it started when the block ends."""
    environment = _environment(project)
    log = Path(environment["AIRFLOW_HOME"]) / "standalone.log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            [Path(sys.executable).with_name("airflow"), "standalone"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        try:
            with httpx.Client(base_url=environment["AIRFLOW__API__BASE_URL"], timeout=30) as client:
                airflow = Airflow(client, log)
                airflow.eventually(lambda: _is_up(client, server), "Airflow to come up")
                token = client.post("/auth/token", json={"username": USER, "password": PASSWORD}).json()
                client.headers["Authorization"] = f"Bearer {token['access_token']}"
                client.base_url = client.base_url.join("/api/v2")
                yield airflow
        finally:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()


def _environment(project: Path) -> dict[str, str]:
    api, worker, triggerer = free_ports(3)
    own = airflow_environment(project)
    passwords = Path(own["AIRFLOW_HOME"]) / "passwords.json"
    passwords.write_text(json.dumps({USER: PASSWORD}))
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return {
        **os.environ,
        **own,
        "PATH": path,
        "AIRFLOW__API__PORT": str(api),
        "AIRFLOW__API__BASE_URL": f"http://127.0.0.1:{api}",
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(worker),
        "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(triggerer),
        # A user with a name, whom the ledger is to name.
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{USER}:admin",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
        # Sooner than once in a quarter of a minute.
        "AIRFLOW__SCHEDULER__TRIGGER_TIMEOUT_CHECK_INTERVAL": "2",
    }


def _is_up(client: httpx.Client, server: subprocess.Popen[bytes]) -> bool:
    if server.poll() is not None:
        raise RuntimeError(f"`airflow standalone` ended with exit code {server.returncode}")
    try:
        parts = client.get("/api/v2/monitor/health").json()
    except (httpx.HTTPError, ValueError):
        return False
    return all(parts[part]["status"] == "healthy" for part in ("scheduler", "triggerer", "dag_processor"))
