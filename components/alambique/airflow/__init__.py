"""Airflow's side: the pipeline as DAGs. It imports no ML library, and calls the ML interpreter for each verb."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alambique.airflow.dags import DistillDag, IngestDag, PromoteDag, RollbackDag, WatchDriftDag
    from alambique.airflow.project import Project
    from alambique.airflow.task_group import AlambiqueTaskGroup

__all__ = [
    "AlambiqueTaskGroup",
    "DistillDag",
    "IngestDag",
    "Project",
    "PromoteDag",
    "RollbackDag",
    "WatchDriftDag",
]

_MODULES = {
    "AlambiqueTaskGroup": "task_group",
    "Project": "project",
    **dict.fromkeys(("DistillDag", "IngestDag", "PromoteDag", "RollbackDag", "WatchDriftDag"), "dags"),
}


def __getattr__(name: str) -> Any:
    # Airflow asks this package for its provider info while it is itself being imported: nothing here may import it yet.
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
