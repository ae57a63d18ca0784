"""Live curves: a stage appends to an event file, which whoever waits for the stage tails into MLflow."""

from __future__ import annotations

import json
import os
from pathlib import Path

EVENTS_FILE = "ALAMBIQUE_EVENTS"
"""Environment variable naming the event file: JSON lines of {"step": int, "metrics": {name: number}}."""


def emit(step: int, **metrics: float) -> None:
    """Append one step's metrics to $ALAMBIQUE_EVENTS; do nothing when nobody listens."""
    if target := os.environ.get(EVENTS_FILE):
        with Path(target).open("a") as file:
            file.write(json.dumps({"step": step, "metrics": metrics}) + "\n")
