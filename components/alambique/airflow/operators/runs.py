"""A run: snapshot, the stages of dvc.yaml, register, gate, record; or its end when nothing changed.

Of their arguments, `run` is the snapshot's output, `stages` every stage's by name, `registered` the register task's,
and `decisions` the gate task's.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from typing import Any

from airflow.sdk import Context

from alambique import messages
from alambique.airflow.operators.base import AssetOperator, Output, VerbOperator, task_arguments
from alambique.config.resources import NO_RESOURCES, Resources
from alambique.errors import ConflictError
from alambique.messages import Message
from alambique.pipeline import keys
from alambique.pipeline.graph import Graph

LONGEST = 150
"""Characters of a run's name in git, which is part of a file's name there."""


class StageOperator(VerbOperator):
    """Runs one stage, or finds its result; returns a `messages.StageResult`.

    A stage whose result the committed dvc.lock already holds costs no ML process.

    Args:
        graph: the pipeline that the DAG was built from, with `stage` in it.
        run: the snapshot's output.
        upstream: outputs of the stages whose outs this one depends on, by name.
        resources: of the task.
    """

    verb, request, result = "run-stage", messages.StageRequest, messages.StageResult

    def __init__(
        self,
        *,
        graph: Graph,
        stage: str,
        run: Output,
        upstream: Mapping[str, Output],
        resources: Resources = NO_RESOURCES,
        **kwargs: Any,
    ) -> None:
        inputs = {"run": run, "stage": stage, "upstream": dict(upstream)}
        super().__init__(inputs=inputs, **task_arguments(resources), **kwargs)
        self.graph = graph

    def answer(self, context: Context) -> messages.StageResult:
        request = messages.StageRequest.model_validate({"deployment": self.deployment, **self.inputs})
        return answer_from_lock(self.graph, request, self.log.info) or self.ask(messages.StageResult, **self.inputs)


def answer_from_lock(
    graph: Graph, request: messages.StageRequest, log: Callable[..., object]
) -> messages.StageResult | None:
    """A stage's result if the run's dvc.lock holds it.

    Raises:
        ConflictError: the run began with another pipeline than `graph`.
    """
    refuse_another_graph(request.run, graph)
    result = keys.answer(graph, request.run, request.stage, request.upstream)
    if result:
        log("%s is unchanged: its result is in dvc.lock", request.stage)
    return result


def refuse_another_graph(run: messages.Run, graph: Graph) -> None:
    """Raise a ConflictError if the run began with another pipeline: Airflow may parse a DAG anew while it runs."""
    if run.digest != graph.digest:
        raise ConflictError(
            f"run {run.run_id} began with the pipeline {run.digest[:12]}, but the DAG is now built from "
            f"{graph.digest[:12]}; start a new run"
        )


class SnapshotOperator(VerbOperator):
    """Freezes what the run starts from, with the graph of this digest; returns a `messages.Run`."""

    verb, request, result = "snapshot", messages.SnapshotRequest, messages.Run

    def __init__(self, *, digest: str, **kwargs: Any) -> None:
        super().__init__(inputs={"digest": digest}, **kwargs)

    def fields(self, context: Context) -> dict[str, Any]:
        return {**self.inputs, "run_id": ref_name(context["run_id"]), "dag_run": context["run_id"]}


class UnchangedOperator(VerbOperator):
    """Ends a run for which nothing changed; returns `messages.Unchanged`."""

    verb, request, result = "unchanged", messages.UnchangedRequest, messages.Unchanged

    def __init__(self, *, run: Output, **kwargs: Any) -> None:
        super().__init__(inputs={"run": run}, **kwargs)


class RegisterOperator(VerbOperator):
    """Registers every candidate; returns `messages.Registered`."""

    verb, request, result = "register", messages.RunRequest, messages.Registered

    def __init__(self, *, run: Output, stages: Mapping[str, Output], **kwargs: Any) -> None:
        super().__init__(inputs={"run": run, "stages": dict(stages)}, **kwargs)


class EndOperator(VerbOperator):
    """Ends the MLflow run of a run of which a task failed; returns a `messages.Ended`.

    A teardown: it runs whatever became of the others, and does not count for the state of the DAG's run.
    """

    verb, request, result = "end", messages.EndRequest, messages.Ended

    def __init__(self, *, run: Output, **kwargs: Any) -> None:
        super().__init__(inputs={"run": run}, **kwargs)

    def answer(self, context: Context) -> Message:
        run = self.inputs["run"]
        return super().answer(context) if run and run["tracking_run"] else messages.Ended(status=None)


class GateOperator(VerbOperator):
    """Judges every candidate; returns `messages.Decisions`. A candidate's failure is an answer, not an error."""

    verb, request, result = "gate", messages.GateRequest, messages.Decisions

    def __init__(self, *, run: Output, stages: Mapping[str, Output], registered: Output, **kwargs: Any) -> None:
        super().__init__(inputs={"run": run, "stages": dict(stages), "registered": registered}, **kwargs)

    def fields(self, context: Context) -> dict[str, Any]:
        inputs = dict(self.inputs)
        versions = messages.Registered.model_validate(inputs.pop("registered")).versions
        return {**inputs, "versions": versions}


class RecordOperator(AssetOperator):
    """Keeps the run in git, and adds an event with its tag to the asset if it has a challenger.

    Returns `messages.Recorded`.
    """

    verb, request, result = "record", messages.RecordRequest, messages.Recorded

    def __init__(self, *, run: Output, stages: Mapping[str, Output], decisions: Output, **kwargs: Any) -> None:
        super().__init__(inputs={"run": run, "stages": dict(stages), "decisions": decisions}, **kwargs)

    def answer(self, context: Context) -> messages.Recorded:
        recorded = self.ask(messages.Recorded, **self.inputs)
        if messages.Decisions.model_validate(self.inputs["decisions"]).challengers:
            self.add_event(context, {"tag": recorded.tag})
        return recorded


def ref_name(run_id: str) -> str:
    """Airflow's id of a run as git allows it in a ref's name: letters, digits, hyphens and underscores.

    An id with other signs gets a digest: a:b and a+b are two runs.
    """
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", run_id).strip("-")[:LONGEST]
    return name if name == run_id else f"{name}-{hashlib.sha256(run_id.encode(errors='replace')).hexdigest()[:8]}"
