"""A verdict as a run in MLflow, in the project's experiment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alambique.registry.client import connect, forgiving, reachable
from alambique.registry.tracking import Child, start_run


def log(tracking_uri: str | None, found: dict[str, Any], folder: Path) -> str | None:
    """Log a verdict once: figures as metrics, and its files.

    Args:
        found: the content of drift.json.
        folder: that it lies in.
    Returns:
        the address of the report on an MLflow server; None where there is no server.
    Raises:
        TransientError: MLflow is out of reach.
    """
    if tracking_uri is None:
        return None
    champion = found["champion"]
    tags = {
        "alambique.drift": found["verdict"],
        "alambique.champion": champion["tag"],
        "alambique.candidate": champion["candidate"],
        "alambique.data": champion["data"],
    }
    run_id = start_run(tracking_uri, found["project"], f"drift-{found['id']}", tags)
    client = connect(tracking_uri)
    with reachable(tracking_uri):
        info = client.get_run(run_id).info
    if info.status != "FINISHED":
        with forgiving("log a verdict on drift"):
            for path in sorted(folder.iterdir()):
                client.log_artifact(run_id, str(path))
            child = Child(client, run_id)
            child.log_metrics(metrics(found))
            child.end("FINISHED")
    if not tracking_uri.startswith(("http://", "https://")):
        return None
    return f"{tracking_uri.rstrip('/')}/#/experiments/{info.experiment_id}/runs/{run_id}/artifacts/report.html"


def metrics(found: dict[str, Any]) -> dict[str, Any]:
    """The figures of a verdict, as nested mappings."""
    kept = ("statistic", "p", "adjusted", "effect")
    figures = {signal["name"]: {key: signal[key] for key in kept} for signal in found["signals"]}
    measured = found["performance"] or {}
    sides = {side: measured[side]["value"] for side in ("production", "test") if measured}
    return {
        "n": found["batch"]["images"],
        "unreadable": found["batch"]["unreadable"],
        "drift": int(found["verdict"] == "drift"),
        **figures,
        "performance": sides,
    }
