"""What Airflow shows of this package among its providers."""

from __future__ import annotations

from typing import Any

INTEGRATION = "Alambique"


def get_provider_info() -> dict[str, Any]:
    """See https://airflow.apache.org/docs/apache-airflow-providers/howto/create-custom-providers.html."""
    return {
        "package-name": "alambique",
        "name": "Alambique",
        "description": "From a DVC-versioned dataset to a promoted, edge-ready student model.",
        "integrations": [{"integration-name": INTEGRATION}],
        "operators": [_modules("ingestion", "operators", "promotion", "retraining")],
        "triggers": [_modules("triggers")],
    }


def _modules(*names: str) -> dict[str, Any]:
    return {"integration-name": INTEGRATION, "python-modules": [f"alambique.airflow.{name}" for name in names]}
