"""New data joins the dataset."""

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
