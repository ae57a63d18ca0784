"""The operators by which new data joins the dataset: what was put at `arrivals`, and what drifted at `production`."""

from __future__ import annotations

from airflow.sdk import Context

from alambique import messages
from alambique.airflow.operators import AnnouncingOperator, author


class IngestOperator(AnnouncingOperator):
    """Merges what is new at `arrivals` into the dataset, and announces the dataset if images joined it.

    Returns `messages.Ingested`. That there is nothing new is no error.
    """

    def answer(self, context: Context) -> messages.Ingested:
        request = messages.IngestRequest.model_validate({"deployment": self.deployment, "by": author(context)})
        ingested = self.ask("ingest", request, messages.Ingested)
        if any(ingested.added.values()):
            self.announce(context, {"revision": ingested.revision, "batch": ingested.batch})
        return ingested


class DriftOperator(AnnouncingOperator):
    """Compares production with the champions' training data, and announces drift if images joined the dataset by it.

    Returns `messages.Drift`. Whatever the verdict is, the task succeeds.
    """

    def answer(self, context: Context) -> messages.Drift:
        request = messages.DriftRequest.model_validate({"deployment": self.deployment, "by": author(context)})
        drift = self.ask("drift", request, messages.Drift)
        if drift.verdict == "drift" and drift.ingested and any(drift.ingested.added.values()):
            extra = {"revision": drift.ingested.revision, "report": drift.report, "signals": drift.signals}
            self.announce(context, extra)
        return drift
