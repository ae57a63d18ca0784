"""The verdict on a batch: drift.json, a sentence, the list of images to label, and a run in MLflow."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from alambique.config import Params
from alambique.data.arrivals import Pair
from alambique.drift.comparisons import Signal
from alambique.drift.features import VERSION, Reference
from alambique.drift.label_selection import Choice
from alambique.drift.performance import Performance
from alambique.drift.production_batch import Fetched
from alambique.drift.reference import MIN_IMAGES, Champion
from alambique.files import write_text
from alambique.registry.client import connect, forgiving, reachable
from alambique.registry.ledger import Entry
from alambique.registry.tracking import Child, start_run

RESULT, PAGE, TO_LABEL = "drift.json", "report.html", "to_label.csv"
SCHEMA = 1
PERFORMANCE = "performance"
"""Name of the signal computed from labelled images."""


def identity(entry: Entry, source: str, batch: Sequence[Pair], params: Params) -> str:
    """Key of a verdict: a hash of the files with their versions, the champion and the settings."""
    files = sorted((item.key, item.version) for pair in batch for item in pair.items)
    settings = [params.drift.model_dump(), params.evaluate.model_dump()]
    content = [SCHEMA, VERSION, entry.tag, entry.digest, source, files, settings]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


def content(
    name: str,
    champion: Champion,
    reference: Reference,
    fetched: Fetched,
    signals: Sequence[Signal],
    familiar: bool,
    performance: Performance | None,
    params: Params,
) -> dict[str, Any]:
    """The content of drift.json, which has no date.

    Args:
        familiar: whether the batch is like production images that the champion was trained on: then differences from
            the other training images are no drift.
    """
    drifted = [signal.name for signal in signals if signal.drifted and not familiar]
    if performance and performance.drifted:
        drifted.append(PERFORMANCE)
    return {
        "schema": SCHEMA,
        "id": name,
        "project": params.project,
        "verdict": "drift" if drifted else "no_drift",
        "drifted": drifted,
        "familiar": familiar,
        "false_alarms": params.drift.false_alarms,
        "champion": {
            **{key: getattr(champion.entry, key) for key in ("model", "version", "candidate", "tag", "digest")},
            "data": champion.data,
            "image_size": champion.image_size,
        },
        "batch": {"images": len(fetched.staged), "unreadable": fetched.unreadable},
        "reference": {
            "trained": reference.trained,
            "held_out": reference.held_out,
            "compared": reference.network_features is not None,
            "enough": MIN_IMAGES,
        },
        "signals": [asdict(signal) for signal in signals],
        PERFORMANCE: performance
        and {
            "production": performance.production._asdict(),
            "test": performance.test._asdict(),
            "images": performance.images,
            "drifted": performance.drifted,
        },
    }


def sentence(result: dict[str, Any]) -> str:
    """The verdict in one sentence."""
    images, candidate = result["batch"]["images"], result["champion"]["candidate"]
    if result["verdict"] == "no_drift" and any(signal["drifted"] for signal in result["signals"]):
        return (
            f"The newest {images} images differ from those that {candidate} was first trained on, but not from the "
            "production images that joined since"
        )
    if result["verdict"] == "no_drift":
        return f"The newest {images} images do not differ from those that {candidate} was trained on"
    names = result["drifted"]
    listed = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
    return f"The newest {images} images differ from those that {candidate} was trained on, in {listed}"


def write_list(path: Path, choices: Sequence[Choice], fetched: Fetched) -> None:
    """Write the images to label, the most useful first, as CSV: rank, key, uncertainty, why."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["rank", "key", "uncertainty", "why"])
    for rank, choice in enumerate(choices, 1):
        writer.writerow([rank, fetched.items[choice.place].key, f"{choice.uncertainty:.4f}", choice.why])
    write_text(path, stream.getvalue())


def log_to_mlflow(tracking_uri: str | None, result: dict[str, Any], folder: Path) -> str | None:
    """Log a verdict as a run of the project's experiment, once: its figures as metrics, and the files in `folder`.

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
            child.log_metrics(mlflow_metrics(result))
            child.end("FINISHED")
    if not tracking_uri.startswith(("http://", "https://")):
        return None
    return f"{tracking_uri.rstrip('/')}/#/experiments/{info.experiment_id}/runs/{run_id}/artifacts/report.html"


def mlflow_metrics(result: dict[str, Any]) -> dict[str, Any]:
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
