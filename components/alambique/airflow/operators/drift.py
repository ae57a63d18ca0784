"""Production data is compared with what the champions were trained on."""

from __future__ import annotations

from airflow.sdk import Context

from alambique import messages
from alambique.airflow.operators.base import AssetOperator, author


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
