"""A stage of dvc.yaml as a task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow.sdk import Context

from alambique import messages
from alambique.airflow.operators.base import Output, VerbOperator
from alambique.errors import ConflictError
from alambique.pipeline import keys
from alambique.pipeline.graph import Graph


class StageOperator(VerbOperator):
    """Runs one stage, or finds its result; returns a `messages.StageResult`.

    A stage whose result the committed dvc.lock already holds costs no ML process.

    Args:
        graph: the pipeline that the DAG was built from, with `stage` in it.
        run: the snapshot's output.
        upstream: outputs of the stages whose outs this one depends on, by name.
    """

    verb, request, result = "run-stage", messages.StageRequest, messages.StageResult

    def __init__(self, *, graph: Graph, stage: str, run: Output, upstream: Mapping[str, Output], **kwargs: Any) -> None:
        super().__init__(inputs={"run": run, "stage": stage, "upstream": dict(upstream)}, **kwargs)
        self.graph = graph
        self.stage = stage

    def answer(self, context: Context) -> messages.StageResult:
        request = messages.StageRequest.model_validate({"deployment": self.deployment, **self.inputs})
        refuse_another_graph(request.run, self.graph)
        if result := keys.answer(self.graph, request.run, self.stage, request.upstream):
            self.log.info("%s is unchanged: its result is in dvc.lock", self.stage)
            return result
        return self.ask(messages.StageResult, **self.inputs)


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
