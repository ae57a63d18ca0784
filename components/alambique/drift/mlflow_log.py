"""Log a drift verdict as a run in the project's MLflow experiment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alambique.registry.client import connect, forgiving, reachable
from alambique.registry.tracking import Child, start_run


def log(tracking_uri: str | None, result: dict[str, Any], folder: Path) -> str | None:
    """Log a verdict, the content of drift.json, once: its figures as metrics, and the files in `folder`.

    Returns:
        the URL of the report on an MLflow server; None without a server.
    Raises:
        TransientError: MLflow is out of reach.
    """
    if tracking_uri is None:
        return None
    champion = result["champion"]
    tags = {
        "alambique.drift": result["verdict"],
        "alambique.champion": champion["tag"],
        "alambique.candidate": champion["candidate"],
        "alambique.data": champion["data"],
    }
    run_id = start_run(tracking_uri, result["project"], f"drift-{result['id']}", tags)
    client = connect(tracking_uri)
    with reachable(tracking_uri):
        info = client.get_run(run_id).info
    if info.status != "FINISHED":
        with forgiving("log a verdict on drift"):
            for path in sorted(folder.iterdir()):
                client.log_artifact(run_id, str(path))
            child = Child(client, run_id)
            child.log_metrics(metrics(result))
            child.end("FINISHED")
    if not tracking_uri.startswith(("http://", "https://")):
        return None
    return f"{tracking_uri.rstrip('/')}/#/experiments/{info.experiment_id}/runs/{run_id}/artifacts/report.html"


def metrics(result: dict[str, Any]) -> dict[str, Any]:
    """The figures of a verdict, as nested mappings."""
    columns = ("statistic", "p", "adjusted", "effect")
    figures = {signal["name"]: {key: signal[key] for key in columns} for signal in result["signals"]}
    measured = result["performance"] or {}
    sides = {side: measured[side]["value"] for side in ("production", "test") if measured}
    return {
        "n": result["batch"]["images"],
        "unreadable": result["batch"]["unreadable"],
        "drift": int(result["verdict"] == "drift"),
        **figures,
        "performance": sides,
    }
