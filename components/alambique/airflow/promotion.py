"""The operators by which a challenger becomes champion, for devices too, and the one before comes back."""

from __future__ import annotations

from typing import Any

from airflow.sdk import Context

from alambique import messages
from alambique.airflow.operators import Output, VerbOperator, author
from alambique.errors import DataError


class PromoteOperator(VerbOperator):
    """Makes challengers champions; returns `messages.Promoted`.

    Args:
        tag: of the recorded run whose challengers are meant. Empty: those of the asset events that started this DAG's
            run, oldest first.
    """

    template_fields = (*VerbOperator.template_fields, "tag")

    def __init__(self, *, tag: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.tag = tag

    def answer(self, context: Context) -> messages.Promoted:
        champions: dict[str, messages.Version] = {}
        for tag in [self.tag] if self.tag else announced(context):
            request = messages.PromoteRequest.model_validate(
                {"deployment": self.deployment, "tag": tag, "by": author(context)}
            )
            promoted = self.ask("promote", request, messages.Promoted)
            champions |= {version.model: version for version in promoted.champions}
        return messages.Promoted(champions=list(champions.values()))


class ProposeOperator(VerbOperator):
    """Says what a promotion would mean, for the person who decides; returns a `messages.Proposal`.

    Args:
        tag: of the recorded run. Empty: the newest of the asset events that started this DAG's run, since what an
            earlier one proposed was judged by less.
    """

    template_fields = (*VerbOperator.template_fields, "tag")

    def __init__(self, *, tag: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.tag = tag

    def answer(self, context: Context) -> messages.Proposal:
        tag = self.tag or announced(context)[-1]
        request = messages.ProposeRequest.model_validate({"deployment": self.deployment, "tag": tag})
        return self.ask("propose", request, messages.Proposal)


class PromoteApprovedOperator(VerbOperator):
    """Makes champions of the challengers that a person approved, in their name; returns `messages.Promoted`.

    Args:
        proposal: the propose task's output.
        approval: the output of Airflow's `ApprovalOperator`; None when that task was marked a success instead of
            answered, and then whoever started the run decided.
    """

    template_fields = (*VerbOperator.template_fields, "proposal", "approval")

    def __init__(self, *, proposal: Output, approval: Output | None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.proposal = proposal
        self.approval = approval

    def answer(self, context: Context) -> messages.Promoted:
        proposal = messages.Proposal.model_validate(self.proposal)
        approval: Any = self.approval or {}
        person = approval.get("responded_by_user") or {}
        request = messages.PromoteRequest.model_validate(
            {
                "deployment": self.deployment,
                "tag": proposal.tag,
                "judgement": proposal.judgement,
                "by": person.get("name") or person.get("id") or author(context),
                "why": (approval.get("params_input") or {}).get("why") or "",
            }
        )
        return self.ask("promote", request, messages.Promoted)


class PublishOperator(VerbOperator):
    """Puts new champions where devices fetch them from; returns `messages.Published`.

    Args:
        promoted: the output of the task that made them champions.
    """

    template_fields = (*VerbOperator.template_fields, "promoted")

    def __init__(self, *, promoted: Output, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.promoted = promoted

    def answer(self, context: Context) -> messages.Published:
        models = [version.model for version in messages.Promoted.model_validate(self.promoted).champions]
        request = messages.PublishRequest.model_validate({"deployment": self.deployment, "models": models})
        return self.ask("publish", request, messages.Published)


class RollbackOperator(VerbOperator):
    """Makes a model's previous champion its champion again; returns `messages.Promoted`.

    Args:
        model: the registered model, <project>-<runtime>.
        why: the reason, for the record.
    """

    template_fields = (*VerbOperator.template_fields, "model", "why")

    def __init__(self, *, model: str, why: str = "", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.model = model
        self.why = why

    def answer(self, context: Context) -> messages.Promoted:
        request = messages.RollbackRequest.model_validate(
            {"deployment": self.deployment, "model": self.model, "by": author(context), "why": self.why}
        )
        return self.ask("rollback", request, messages.Promoted)


def announced(context: Context) -> list[str]:
    """The tags in the asset events that started this run, each once, oldest first.

    Raises:
        DataError: no event started it.
    """
    events = [event for events in context["triggering_asset_events"].values() for event in events]
    if not events:
        raise DataError("there is no run to promote: give the param `tag`, such as runs/<run id>")
    # An event that came by an alias stands there twice, under the asset and under the alias.
    return list(dict.fromkeys(event.extra["tag"] for event in sorted(events, key=lambda event: event.timestamp)))
