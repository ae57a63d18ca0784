"""An executor of Airflow without servers: `dag.test(use_executor=True)` runs tasks in forked processes, some at a time.

Airflow's LocalExecutor needs an API server, and starts an interpreter for each task. Here a worker process serves the
API to itself, as `dag.test()` does, and keeps what it has imported.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from typing import Any, ClassVar, NamedTuple

import httpx
from airflow import settings
from airflow.executors.base_executor import BaseExecutor
from airflow.models.taskinstance import TaskInstance
from airflow.models.xcom import XComModel
from airflow.sdk import DAG
from airflow.sdk.api.datamodels import _generated as api
from airflow.sdk.execution_time.supervisor import in_process_api_server, run_task_in_process
from airflow.utils.session import create_session
from airflow.utils.state import TaskInstanceState
from rich.console import Console
from rich.markup import escape


class Outcome(NamedTuple):
    """How a task ended.

    Attributes:
        found: where a stage's result came from, as in `messages.StageResult`; empty for other tasks.
        error: in words; None: it succeeded.
        seconds: wall time.
    """

    found: str
    error: str | None
    seconds: float


class ForkExecutor(BaseExecutor):
    """Runs the tasks of one DAG, and prints a line when one ends: its id, seconds, how the stage's result was found.

    Airflow makes an executor by its class's name, so that what it works on is the class's.

    Attributes:
        dag: the DAG.
        approved: ids of tasks that count as successful without being run.
        console: where the lines go.
    """

    dag: ClassVar[DAG]
    approved: ClassVar[frozenset[str]]
    console: ClassVar[Console]

    def start(self) -> None:
        asyncio.run(_prepare_api())
        fork = multiprocessing.get_context("fork")
        self.pool = ProcessPoolExecutor(self.parallelism, mp_context=fork, initializer=_begin_worker)
        self.futures: dict[Future[Outcome], Any] = {}
        self.status = self.console.status("")

    def _process_workloads(self, workload_items: Sequence[Any]) -> None:
        for workload in workload_items:
            self.running.add(workload.key)
            del self.queued_tasks[workload.key]
            self.futures[self.pool.submit(_run, workload.ti)] = workload.key

    def sync(self) -> None:
        """Wait until a task ends: none can begin before."""
        self.status.update(", ".join(sorted(key.task_id for key in self.futures.values())))
        self.status.start()
        ended, _ = wait(self.futures, return_when=FIRST_COMPLETED)
        self.status.stop()
        for future in ended:
            self._end(self.futures.pop(future), future.result())

    def _end(self, key: Any, outcome: Outcome) -> None:
        if outcome.error is not None:
            self._print("[red]✗[/]", key.task_id, outcome, f"[red]{escape(outcome.error)}[/]")
            self.fail(key)
            return
        if key.task_id not in self.approved:
            remark = {"lock": "unchanged", "store": "found on the remote"}.get(outcome.found, "")
            self._print("[green]✓[/]", key.task_id, outcome, f"[dim]{remark}[/]")
        self.success(key)

    def _print(self, mark: str, task_id: str, outcome: Outcome, remark: str) -> None:
        self.console.print(f"{mark} {task_id:<44}{outcome.seconds:7.1f} s  {remark}", soft_wrap=True)

    def end(self) -> None:
        self.pool.shutdown()


async def _prepare_api() -> None:
    """Have the app make its routes, which takes seconds, once: before the workers are forked, not in each of them.

    Airflow makes those of an API version at its first request.
    """
    server = in_process_api_server()
    async with httpx.AsyncClient(transport=server.atransport, base_url="http://in-process") as client:
        (await client.get("/health")).raise_for_status()


def _begin_worker() -> None:
    """Leave the parent's database connections to the parent."""
    if settings.engine:
        settings.engine.dispose(close=False)
    settings.configure_orm()  # type: ignore[no-untyped-call]


def _run(ti: Any) -> Outcome:
    """Run a task in this process, as `dag.test()` does."""
    started = time.monotonic()
    if ti.task_id in ForkExecutor.approved:
        with create_session() as session:
            session.get_one(TaskInstance, ti.id).set_state(TaskInstanceState.SUCCESS, session=session)
        return Outcome("", None, 0.0)
    fields = ("id", "task_id", "dag_id", "run_id", "try_number", "map_index", "dag_version_id")
    instance = api.TaskInstance(**{field: getattr(ti, field) for field in fields})
    done = run_task_in_process(instance, ForkExecutor.dag.task_dict[ti.task_id])
    seconds = time.monotonic() - started
    if done.state == TaskInstanceState.FAILED:
        return Outcome("", str(done.error), seconds)
    with create_session() as session:
        query = XComModel.get_many(run_id=ti.run_id, key="return_value", task_ids=ti.task_id, dag_ids=ti.dag_id)
        result = session.scalar(query.with_only_columns(XComModel.value))
    return Outcome(result.get("found", "") if isinstance(result, dict) else "", None, seconds)
