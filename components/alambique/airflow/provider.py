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
        "operators": [_modules("operators", "drift", "ingest", "promotion", "retraining", "runs", "stages")],
        "triggers": [_modules("triggers", "arrivals")],
    }


def _modules(package: str, *names: str) -> dict[str, Any]:
    modules = [f"alambique.airflow.{package}.{name}" for name in names]
    return {"integration-name": INTEGRATION, "python-modules": modules}
