"""Keep a run from starting too soon or for nothing: a cooldown after the last one, and a check of dvc.lock."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.providers.standard.operators.branch import BaseBranchOperator
from airflow.providers.standard.triggers.temporal import DateTimeTrigger
from airflow.sdk import BaseOperator, Context

from alambique import messages
from alambique.airflow.operators.base import Output, permanent_errors_fail
from alambique.airflow.operators.runs import refuse_another_graph
from alambique.config.deployment import Deployment
from alambique.git import clone, git, ref
from alambique.messages import Run
from alambique.pipeline import keys
from alambique.pipeline.graph import Graph

LOCK = "dvc.lock"


def last_lock_commit(origin: str, revision: str) -> tuple[datetime, bool] | None:
    """When dvc.lock was changed last, up to the commit `revision`, and whether by a recorded run; None: there is none.

    All entries of a recorded run's lock belong together.

    Raises:
        TransientError: the origin is out of reach.
        AlambiqueError: it has no such revision.
    """
    with tempfile.TemporaryDirectory(prefix="alambique-history-") as folder:
        clone(origin, folder, "--bare", "--filter=blob:none")
        show = ("--decorate-refs=refs/tags/runs/*", "--format=%cI%x09%D")
        line = git(f"--git-dir={folder}", "log", "-1", *show, ref(revision), "--", LOCK)
    if not line:
        return None
    date, _, tags = line.partition("\t")
    return datetime.fromisoformat(date), bool(tags)


class CooldownOperator(BaseOperator):
    """Lets a run that asset events started wait until some hours after the last recorded one; no others.

    While it waits, `hours` after the newest commit that changed dvc.lock on the branch, it takes no worker's slot.
    Marked a success in Airflow's UI, it lets the run begin at once.
    """

    template_fields: Sequence[str] = ("deployment",)

    def __init__(self, *, deployment: Deployment, hours: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.deployment = deployment.model_dump(mode="json")
        self.hours = hours

    def execute(self, context: Context) -> None:
        if context["dag_run"].run_type == "asset_triggered" and (until := self.until(datetime.now(UTC))):
            self.log.info("cooling down until %s", until)
            # The triggerer itself ends the task then.
            self.defer(trigger=DateTimeTrigger(until, end_from_trigger=True), method_name="execute_complete")

    def execute_complete(self, context: Context, event: Any) -> None:
        """Airflow wants a method to come back to."""

    def until(self, now: datetime) -> datetime | None:
        """When the cooldown is over, unless it is already."""
        last = last_lock_commit(self.deployment["origin"], f"refs/heads/{self.deployment['branch']}")
        if last is None:
            return None
        changed_at, _ = last
        end = min(changed_at, now) + timedelta(hours=self.hours)  # a clock that is wrong must not add to the wait
        return end if end > now else None


class ChangesOperator(BaseBranchOperator):
    """Goes to the task `unchanged` and skips all else after it if the committed dvc.lock holds every stage's result.

    The run's param `force`, if true, lets everything run all the same. `run` is the snapshot's output.
    """

    template_fields: Sequence[str] = ("deployment", "run")

    def __init__(self, *, deployment: Deployment, graph: Graph, run: Output, unchanged: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.deployment = deployment.model_dump(mode="json")
        self.graph = graph
        self.run = run
        self.unchanged = unchanged

    def choose_branch(self, context: Context) -> list[str]:
        with permanent_errors_fail():
            run = messages.Run.model_validate(self.run)
            refuse_another_graph(run, self.graph)
            _, recorded = last_lock_commit(self.deployment["origin"], run.revision) or (None, False)
            to_run = changed(self.graph, run, recorded=recorded)
        if to_run:
            self.log.info("dvc.lock does not hold the results of %s", ", ".join(to_run))
        elif not context["params"].get("force"):
            self.log.info("nothing changed since the last recorded run")
            return [self.unchanged]
        return sorted(self.downstream_task_ids - {self.unchanged})


def changed(graph: Graph, run: Run, *, recorded: bool) -> list[str]:
    """The stages whose results the committed dvc.lock does not hold, producers first.

    A stage that always runs has changed when what it depends on has: a benchmark of the same artifacts is no news.

    Args:
        recorded: whether a recorded run left the lock. An entry holds one hash for a whole folder, from which nobody
            can tell what lay inside when it was made, unless all entries were made together.
    Raises:
        ConfigurationError: as `keys.inputs`.
    """
    same: set[str] = set()
    for stage in graph.stages:
        if stage in run.lock and same.issuperset(graph.upstream(stage)):
            wanted = keys.inputs(graph, stage, run.sources, run.lock, run.params[stage])
            certain = recorded or all(isinstance(value, str) for value in wanted.deps.values())
            if certain and not wanted.contradiction(run.lock[stage]):
                same.add(stage)
    return [stage for stage in graph.stages if stage not in same]
