"""One small operator for each verb of a run. What comes from an upstream task is a templated field: it makes the edge.

The verbs before and after a run have theirs in `ingestion` and `promotion`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from airflow.sdk import Asset, AssetAlias, BaseOperator, Context, XComArg
from airflow.sdk.exceptions import AirflowFailException

from alambique import messages
from alambique.airflow.process import Result, Verb
from alambique.config.deployment import Deployment
from alambique.errors import ConflictError, PermanentError
from alambique.pipeline import graph as pipeline
from alambique.pipeline.graph import Graph

Output = XComArg | Mapping[str, Any]
"""What another task returns: a reference in the DAG file, the message as JSON when the task runs."""


class VerbOperator(BaseOperator):
    """Does a verb in the ML interpreter and returns its result as JSON.

    A permanent error fails the task at once; any other is retried as often as the task's `retries` allow.

    Args:
        deployment: where the project runs; its texts may be Jinja templates.
    """

    template_fields: Sequence[str] = ("deployment",)

    def __init__(self, *, deployment: Deployment, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.deployment = deployment.model_dump(mode="json")
        self._verb: Verb | None = None

    def execute(self, context: Context) -> dict[str, Any]:
        with permanent_errors_fail():
            return self.answer(context).model_dump(mode="json")

    def answer(self, context: Context) -> messages.Message:
        """What the task returns; the subclass says how."""
        raise NotImplementedError

    def ask(self, verb: str, request: messages.Message, result: type[Result]) -> Result:
        """Do `verb` in the ML interpreter; see `process.Verb.run`."""
        self._verb = Verb(Path(self.deployment["python"] or sys.executable), verb, self.log.info)
        return self._verb.run(request, result)

    def on_kill(self) -> None:
        if self._verb:
            self._verb.kill()


class AnnouncingOperator(VerbOperator):
    """The base of what may announce something: an event of an asset, with which Airflow starts other DAGs.

    Args:
        announces: the asset.
    """

    def __init__(self, *, announces: Asset, **kwargs: Any) -> None:
        # An asset as an outlet has an event at every success; through an alias it has one when told to.
        self.alias = AssetAlias(announces.name)
        super().__init__(outlets=[self.alias], **kwargs)
        self.announces = announces

    def announce(self, context: Context, extra: dict[str, Any]) -> None:
        """Add an event, which counts when the task succeeds."""
        context["outlet_events"][self.alias].add(self.announces, extra=extra)


class SnapshotOperator(VerbOperator):
    """Freezes what the run starts from; returns a `messages.Run`.

    Args:
        digest: of the graph that the DAG was built from.
    """

    def __init__(self, *, digest: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.digest = digest

    def answer(self, context: Context) -> messages.Run:
        dag_run = context["run_id"]
        request = messages.SnapshotRequest.model_validate(
            {"deployment": self.deployment, "run_id": ref_name(dag_run), "digest": self.digest, "dag_run": dag_run}
        )
        return self.ask("snapshot", request, messages.Run)


class StageOperator(VerbOperator):
    """Does one stage, or finds its result; returns a `messages.StageResult`.

    A stage whose result the committed dvc.lock already holds costs no ML process.

    Args:
        graph: the pipeline that the DAG was built from.
        stage: its name in `graph`.
        run: the snapshot's output.
        upstream: outputs of the stages whose outs this one depends on, by name.
    """

    template_fields = (*VerbOperator.template_fields, "run", "upstream")

    def __init__(self, *, graph: Graph, stage: str, run: Output, upstream: Mapping[str, Output], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.graph = graph
        self.stage = stage
        self.run = run
        self.upstream = dict(upstream)

    def answer(self, context: Context) -> messages.StageResult:
        request = messages.StageRequest.model_validate(
            {"deployment": self.deployment, "run": self.run, "stage": self.stage, "upstream": self.upstream}
        )
        refuse_another_graph(request.run, self.graph)
        found = pipeline.answer(self.graph, request.run, self.stage, request.upstream)
        if found:
            self.log.info("%s is unchanged: its result is in dvc.lock", self.stage)
        return found or self.ask("run-stage", request, messages.StageResult)


class RunOperator(VerbOperator):
    """The base of what looks at a whole run.

    Args:
        run: the snapshot's output.
        stages: every stage's output, by name.
    """

    template_fields: Sequence[str] = (*VerbOperator.template_fields, "run", "stages")

    def __init__(self, *, run: Output, stages: Mapping[str, Output], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.run = run
        self.stages = dict(stages)

    def fields(self) -> dict[str, Any]:
        """Those of a `messages.RunRequest`."""
        return {"deployment": self.deployment, "run": self.run, "stages": self.stages}


class RegisterOperator(RunOperator):
    """Registers every candidate; returns `messages.Registered`."""

    def answer(self, context: Context) -> messages.Registered:
        return self.ask("register", messages.RunRequest.model_validate(self.fields()), messages.Registered)


class GateOperator(RunOperator):
    """Judges every candidate; returns `messages.Decisions`. A candidate's failure is an answer, not an error.

    Args:
        registered: the register task's output.
    """

    template_fields = (*RunOperator.template_fields, "registered")

    def __init__(self, *, registered: Output, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.registered = registered

    def answer(self, context: Context) -> messages.Decisions:
        versions = messages.Registered.model_validate(self.registered).versions
        request = messages.GateRequest.model_validate({**self.fields(), "versions": versions})
        return self.ask("gate", request, messages.Decisions)


class RecordOperator(AnnouncingOperator, RunOperator):
    """Keeps the run in git and announces its challenger, if it has one, by the run's tag; returns `messages.Recorded`.

    Args:
        decisions: the gate task's output.
    """

    template_fields = (*RunOperator.template_fields, "decisions")

    def __init__(self, *, decisions: Output, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.decisions = decisions

    def answer(self, context: Context) -> messages.Recorded:
        request = messages.RecordRequest.model_validate({**self.fields(), "decisions": self.decisions})
        recorded = self.ask("record", request, messages.Recorded)
        if request.decisions.challengers:
            self.announce(context, {"tag": recorded.tag})
        return recorded


def ref_name(run_id: str) -> str:
    """Airflow's id of a run as git allows it in a ref's name: letters, digits, hyphens and underscores."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", run_id).strip("-")


def refuse_another_graph(run: messages.Run, graph: Graph) -> None:
    """Airflow may parse a DAG anew while it runs.

    Raises:
        ConflictError: the run began with another pipeline than `graph`.
    """
    if run.digest != graph.digest:
        raise ConflictError(
            f"run {run.run_id} began with the pipeline {run.digest[:12]}, but the DAG is now built from "
            f"{graph.digest[:12]}; start a new run"
        )


def author(context: Context) -> str:
    """Who decides: the person who started this DAG's run, or else the DAG itself."""
    dag_run = context["dag_run"]
    return dag_run.triggering_user_name or f"{dag_run.dag_id}/{dag_run.run_id}"


@contextmanager
def permanent_errors_fail() -> Iterator[None]:
    """Let Airflow retry no error that a retry would meet again."""
    try:
        yield
    except PermanentError as error:
        raise AirflowFailException(f"{type(error).__name__}: {error}") from error
