"""What watches data: new files join the dataset, production images are compared with what champions were trained on."""

from __future__ import annotations

from airflow.sdk import Context

from alambique import messages
from alambique.airflow.operators.base import AssetOperator, author


class IngestOperator(AssetOperator):
    """Merges what is new at `arrivals` into the dataset, and adds an event to the asset if samples joined it.

    Returns `messages.Ingested`. That there is nothing new is no error.
    """

    verb, request, result = "ingest", messages.IngestRequest, messages.Ingested

    def answer(self, context: Context) -> messages.Ingested:
        ingested = self.ask(messages.Ingested, by=author(context))
        if any(ingested.added.values()):
            self.add_event(context, {"revision": ingested.revision, "batch": ingested.batch})
        return ingested


class DriftOperator(AssetOperator):
    """Looks for drift at `production`, and adds an event to the asset if a drifted batch joined the dataset.

    Returns `messages.Drift`. Whatever the verdict is, the task succeeds.
    """

    verb, request, result = "drift", messages.DriftRequest, messages.Drift

    def answer(self, context: Context) -> messages.Drift:
        drift = self.ask(messages.Drift, by=author(context))
        if drift.verdict == "drift" and drift.ingested and any(drift.ingested.added.values()):
            extra = {"revision": drift.ingested.revision, "report": drift.report, "signals": drift.signals}
            self.add_event(context, extra)
        return drift
