"""What every operator is: a request to the ML interpreter, whose result the task returns as JSON."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

from airflow.sdk import Asset, AssetAlias, BaseOperator, Context, XComArg
from airflow.sdk.exceptions import AirflowFailException
from pydantic import ValidationError

from alambique.airflow.hooks.ml_command import MLCommandHook, Result
from alambique.config import describe
from alambique.config.deployment import Deployment
from alambique.config.resources import Resources
from alambique.errors import ConfigurationError, PermanentError
from alambique.messages import Message

Output = XComArg | Mapping[str, Any]
"""What another task returns: a reference in the DAG file, the message as JSON when the task runs."""


class VerbOperator(BaseOperator):
    """Runs one verb of `alambique.verbs` in the ML interpreter and returns its result as JSON.

    A permanent error fails the task at once; any other is retried as often as the task's `retries` allow.

    Args:
        deployment: where the project runs; its texts may be Jinja templates.
        inputs: the request's other fields; outputs of upstream tasks among them make the edges.
    Attributes:
        verb: its name.
        request, result: the classes of its request and result.
    """

    verb: ClassVar[str]
    request: ClassVar[type[Message]]
    result: ClassVar[type[Message]]
    template_fields: Sequence[str] = ("deployment", "inputs")

    def __init__(self, *, deployment: Deployment, inputs: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.deployment = deployment.model_dump(mode="json")
        self.inputs = dict(inputs or {})
        self._hook: MLCommandHook | None = None

    def execute(self, context: Context) -> dict[str, Any]:
        with permanent_errors_fail():
            return self.answer(context).model_dump(mode="json")

    def answer(self, context: Context) -> Message:
        """What the task returns: the verb's result, unless a subclass knows better."""
        return self.ask(self.result, **self.fields(context))

    def fields(self, context: Context) -> dict[str, Any]:
        """The request's fields besides `deployment`."""
        return self.inputs

    def ask(self, result: type[Result], **fields: Any) -> Result:
        """Run the verb in the ML interpreter; see `MLCommandHook.run`."""
        try:
            request = self.request.model_validate({"deployment": self.deployment, **fields})
        except ValidationError as error:  # of what a form, an event or another task gave
            raise ConfigurationError(describe(error, self.verb)) from None
        self._hook = MLCommandHook(Path(self.deployment["python"] or sys.executable), self.verb, self.log.info)
        return self._hook.run(request, result)

    def on_kill(self) -> None:
        if self._hook:
            self._hook.kill()


class AssetOperator(VerbOperator):
    """The base of what may add an event to `asset`, with which Airflow starts other DAGs."""

    def __init__(self, *, asset: Asset, **kwargs: Any) -> None:
        # An asset as an outlet has an event at every success; through an alias only where one is added.
        self.alias = AssetAlias(asset.name)
        super().__init__(outlets=[self.alias], **kwargs)
        self.asset = asset

    def add_event(self, context: Context, extra: dict[str, Any]) -> None:
        """Add an event to the asset, which counts when the task succeeds."""
        context["outlet_events"][self.alias].add(self.asset, extra=extra)


def task_arguments(resources: Resources) -> dict[str, Any]:
    """What of them any executor of Airflow heeds, as arguments of an operator."""
    hours = resources.timeout_hours
    arguments = {
        "queue": resources.queue,
        "pool": resources.pool,
        "execution_timeout": None if hours is None else timedelta(hours=hours),
        "retries": resources.retries,
    }
    return {name: value for name, value in arguments.items() if value is not None}


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
