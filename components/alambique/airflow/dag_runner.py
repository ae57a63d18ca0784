"""`python -m alambique.airflow.dag_runner PROJECT DAG`: Airflow's `dag.test()` with one line for each task.

No scheduler and no server: the tasks run here, one after the other. What they say goes to a log file beside Airflow's
database. Nothing is retried: whoever waits for a test run wants to see its first failure. AIRFLOW_HOME and
AIRFLOW__CORE__DAGS_FOLDER must be set, since Airflow reads its configuration when it is imported.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from airflow.dag_processing.dagbag import DagBag
from airflow.listeners import hookimpl
from airflow.models.asset import AssetEvent, AssetModel
from airflow.sdk.listener import get_listener_manager
from airflow.utils.db import initdb
from airflow.utils.session import create_session
from rich.console import Console
from rich.markup import escape
from sqlalchemy import select

from alambique.airflow.project import Project


class Progress:
    """Shows the task that runs, and leaves a line when it ends: its id, seconds, how the stage's result was found.

    What Airflow skips never runs, so it has no line.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self.status = console.status("")
        self.begun = 0.0

    @hookimpl
    def on_task_instance_running(self, previous_state: Any, task_instance: Any) -> None:
        self.begun = time.monotonic()
        self.status.update(task_instance.task_id)
        self.status.start()

    @hookimpl
    def on_task_instance_success(self, previous_state: Any, task_instance: Any) -> None:
        result = task_instance.xcom_pull(task_ids=task_instance.task_id)
        found = result.get("found", "") if isinstance(result, dict) else ""
        remark = {"lock": "unchanged", "store": "found on the remote"}.get(found, "")
        self._say("[green]✓[/]", task_instance, f"[dim]{remark}[/]")

    @hookimpl
    def on_task_instance_failed(self, previous_state: Any, task_instance: Any, error: Any) -> None:
        self._say("[red]✗[/]", task_instance, f"[red]{escape(str(error))}[/]")

    def _say(self, mark: str, task_instance: Any, remark: str) -> None:
        self.status.stop()
        seconds = time.monotonic() - self.begun
        self.console.print(f"{mark} {task_instance.task_id:<44}{seconds:7.1f} s  {remark}", soft_wrap=True)


def run(root: Path, name: str, console: Console) -> bool:
    """Run a DAG of the project at `root` to its end.

    Args:
        name: distill, promote or rollback.
    Returns:
        whether it succeeded.
    """
    initdb()
    project = Project.load(root)
    bag = DagBag(os.environ["AIRFLOW__CORE__DAGS_FOLDER"])
    for path, error in bag.import_errors.items():
        console.print(f"{path}: {error}", markup=False)
    dag = bag.dags[f"{project.name}_{name}"]
    for task in dag.tasks:
        task.retries = 0
    conf = {"tag": _announced(project)} if name == "promote" else {}
    get_listener_manager().add_listener(Progress(console))  # type: ignore[no-untyped-call]
    # Whoever starts a promotion here has decided: nobody else is there to ask.
    return bool(dag.test(run_conf=conf, mark_success_pattern="approve").state == "success")


def _announced(project: Project) -> str:
    """The tag of the newest challenger: `dag.test()` starts no DAG by an asset's event."""
    query = select(AssetEvent.extra).join(AssetModel, AssetModel.id == AssetEvent.asset_id)
    newest = query.where(AssetModel.name == project.challenger.name).order_by(AssetEvent.id.desc()).limit(1)
    with create_session() as session:
        return str((session.scalar(newest) or {}).get("tag", ""))


@contextmanager
def _output_to(log: Path) -> Iterator[Console]:
    """Send what this process and its children print to `log`; the console that is given stays where the output was."""
    with os.fdopen(os.dup(1), "w") as terminal, log.open("a") as file:
        for descriptor in (1, 2):
            os.dup2(file.fileno(), descriptor)
        yield Console(file=terminal)


def main(root: str, name: str) -> int:
    """Exit code 0 when the DAG's run succeeded."""
    log = Path(os.environ["AIRFLOW_HOME"]) / f"{name}.log"
    with _output_to(log) as console:
        if run(Path(root), name, console):
            return 0
        console.print(f"The {name} DAG failed; all it said is in {log}", markup=False)
        return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
