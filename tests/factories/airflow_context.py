"""What an operator gets to see of Airflow while it runs."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from airflow.sdk import Asset, AssetAlias, Context

from alambique.config.deployment import Deployment
from factories.stub_interpreter import interpreter


def deployment(folder: Path, verb: str) -> Deployment:
    """One whose ML interpreter runs `verb`, lines of Python, whatever it is asked."""
    return Deployment(origin=str(folder / "origin.git"), home=folder, python=interpreter(folder, verb))


def challenger_events(*tags: str) -> Any:
    """Events of a challenger as Airflow hands them to a run: an alias has each once more, and none is in order."""
    events = [SimpleNamespace(extra={"tag": tag}, timestamp=second) for second, tag in enumerate(tags)]
    return {Asset("cells_challenger"): events[::-1], AssetAlias("cells_challenger"): events}


def context(**values: Any) -> Context:
    """That of a task of a run which an event started."""
    dag_run = SimpleNamespace(triggering_user_name=None, dag_id="cells_promote", run_id="asset_triggered__1")
    return cast("Context", {"dag_run": dag_run, "run_id": dag_run.run_id, **values})
