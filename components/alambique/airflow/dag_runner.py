"""`python -m alambique.airflow.dag_runner PROJECT DAG`: a run of a DAG without servers, with one line for each task.

Tasks run in forked processes, two at a time where the graph allows; see `executor`. Their output goes to a log file
beside Airflow's database. Nothing is retried: whoever waits for a run wants to see its first failure. The variables of
`local.services.runner_environment` must be set, since Airflow reads its configuration when it is imported.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from airflow.dag_processing.dagbag import DagBag
from airflow.models.asset import AssetEvent, AssetModel
from airflow.utils.db import initdb
from airflow.utils.session import create_session
from rich.console import Console
from sqlalchemy import select

from alambique.airflow.executor import ForkExecutor
from alambique.airflow.project import Project


def run(root: Path, name: str, console: Console) -> bool:
    """Run the DAG `name` (distill, promote or rollback) of the project at `root`; returns whether it succeeded."""
    initdb()
    project = Project.load(root)
    bag = DagBag(os.environ["AIRFLOW__CORE__DAGS_FOLDER"])
    for path, error in bag.import_errors.items():
        console.print(f"{path}: {error}", markup=False)
    dag = bag.dags[f"{project.name}_{name}"]
    for task in dag.tasks:
        task.retries = 0
    # Whoever starts a promotion here has decided: nobody else is there to ask.
    ForkExecutor.dag, ForkExecutor.approved, ForkExecutor.console = dag, frozenset({"approve"}), console
    conf = {"tag": _newest_challenger(project)} if name == "promote" else {}
    return bool(dag.test(run_conf=conf, use_executor=True).state == "success")


def _newest_challenger(project: Project) -> str:
    """Its tag: `dag.test()` starts no DAG by an asset's event."""
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
