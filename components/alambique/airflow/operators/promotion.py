"""A challenger becomes champion, for devices too, or the previous champion comes back."""

from __future__ import annotations

from typing import Any

from airflow.sdk import Context

from alambique import messages
from alambique.airflow.operators.base import Output, VerbOperator, author
from alambique.errors import DataError


class PromoteOperator(VerbOperator):
    """Makes challengers champions; returns `messages.Promoted`.

    Args:
        tag: of the recorded run whose challengers are meant. Empty: those of the asset events that started this DAG's
            run, oldest first.
    """

    verb, request, result = "promote", messages.PromoteRequest, messages.Promoted

    def __init__(self, *, tag: str, **kwargs: Any) -> None:
        super().__init__(inputs={"tag": tag}, **kwargs)

    def answer(self, context: Context) -> messages.Promoted:
        champions: dict[str, messages.Version] = {}
        for tag in [self.inputs["tag"]] if self.inputs["tag"] else event_tags(context):
            promoted = self.ask(messages.Promoted, tag=tag, by=author(context))
            champions |= {version.model: version for version in promoted.champions}
        return messages.Promoted(champions=list(champions.values()))


class ProposeOperator(VerbOperator):
    """Describes what a promotion would mean, for the person who decides; returns a `messages.Proposal`.

    Args:
        tag: of the recorded run. Empty: the newest of the asset events that started this DAG's run, since what an
            earlier one proposed was judged by less.
    """

    verb, request, result = "propose", messages.ProposeRequest, messages.Proposal

    def __init__(self, *, tag: str, **kwargs: Any) -> None:
        super().__init__(inputs={"tag": tag}, **kwargs)

    def fields(self, context: Context) -> dict[str, Any]:
        return {"tag": self.inputs["tag"] or event_tags(context)[-1]}


class PromoteApprovedOperator(VerbOperator):
    """Makes champions of the challengers that a person approved, in their name; returns `messages.Promoted`.

    Args:
        proposal: the propose task's output.
        approval: the output of Airflow's `ApprovalOperator`; None when that task was marked a success instead of
            answered, and then whoever started the run decided.
    """

    verb, request, result = "promote", messages.PromoteRequest, messages.Promoted

    def __init__(self, *, proposal: Output, approval: Output | None, **kwargs: Any) -> None:
        super().__init__(inputs={"proposal": proposal, "approval": approval}, **kwargs)

    def fields(self, context: Context) -> dict[str, Any]:
        proposal = messages.Proposal.model_validate(self.inputs["proposal"])
        approval = self.inputs["approval"] or {}
        person = approval.get("responded_by_user") or {}
        return {
            "tag": proposal.tag,
            "judgement": proposal.judgement,
            "by": person.get("name") or person.get("id") or author(context),
            "why": (approval.get("params_input") or {}).get("why") or "",
        }


class PublishOperator(VerbOperator):
    """Puts the champions that the task `promoted` made where devices fetch them; returns `messages.Published`."""

    verb, request, result = "publish", messages.PublishRequest, messages.Published

    def __init__(self, *, promoted: Output, **kwargs: Any) -> None:
        super().__init__(inputs={"promoted": promoted}, **kwargs)

    def fields(self, context: Context) -> dict[str, Any]:
        promoted = messages.Promoted.model_validate(self.inputs["promoted"])
        return {"models": [version.model for version in promoted.champions]}


class RollbackOperator(VerbOperator):
    """Makes a model's previous champion its champion again; returns `messages.Promoted`."""

    verb, request, result = "rollback", messages.RollbackRequest, messages.Promoted

    def __init__(self, *, model: str, why: str = "", **kwargs: Any) -> None:
        super().__init__(inputs={"model": model, "why": why}, **kwargs)

    def fields(self, context: Context) -> dict[str, Any]:
        return {**self.inputs, "by": author(context)}


def event_tags(context: Context) -> list[str]:
    """The tags in the asset events that started this run, each once, oldest first; a DataError if none did."""
    events = [event for events in context["triggering_asset_events"].values() for event in events]
    if not events:
        raise DataError("there is no run to promote: give the param `tag`, such as runs/<run id>")
    # An event that came by an alias stands there twice, under the asset and under the alias.
    return list(dict.fromkeys(event.extra["tag"] for event in sorted(events, key=lambda event: event.timestamp)))
