"""Airflow's side: the pipeline as DAGs. It imports no ML library, and calls the ML interpreter for each verb."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alambique.airflow.dags import AlambiqueTaskGroup, DistillDag, IngestDag, PromoteDag, RollbackDag, WatchDriftDag
    from alambique.airflow.project import Project

__all__ = ["AlambiqueTaskGroup", "DistillDag", "IngestDag", "Project", "PromoteDag", "RollbackDag", "WatchDriftDag"]

_MODULES = dict.fromkeys(__all__, "dags") | {"Project": "project"}
INTEGRATION = "Alambique"


def get_provider_info() -> dict[str, Any]:
    """What Airflow shows of this package among its providers.

    See https://airflow.apache.org/docs/apache-airflow-providers/howto/create-custom-providers.html.
    """
    return {
        "package-name": "alambique",
        "name": "Alambique",
        "description": "From a DVC-versioned dataset to a promoted, edge-ready student model.",
        "integrations": [{"integration-name": INTEGRATION}],
        "operators": [_modules("operators", "data", "promotion", "retraining", "runs")],
        "triggers": [_modules("triggers", "arrivals")],
    }


def _modules(package: str, *names: str) -> dict[str, Any]:
    modules = [f"alambique.airflow.{package}.{name}" for name in names]
    return {"integration-name": INTEGRATION, "python-modules": modules}


def __getattr__(name: str) -> Any:
    # Airflow asks this package for its provider info while it is itself being imported: nothing here may import it yet.
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
