"""The verdict on a batch, in the form that is kept: `drift.json`, and in words."""

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
from alambique.drift.reference import ENOUGH, Champion
from alambique.files import write_text
from alambique.registry.ledger import Entry

RESULT, PAGE, TO_LABEL = "drift.json", "report.html", "to_label.csv"
SCHEMA = 1
PERFORMANCE = "performance"
"""Name of the signal that labelled images give."""


def identity(entry: Entry, source: str, batch: Sequence[Pair], params: Params) -> str:
    """A name for the verdict on these files, in these versions, by this champion: of equals it is the same."""
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
    """What goes into `drift.json`; no date is in it.

    Args:
        familiar: whether the batch is like images from the field that the champion learned from: then it may differ
            from all others.
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
            "compared": reference.observed is not None,
            "enough": ENOUGH,
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


def sentence(found: dict[str, Any]) -> str:
    """The verdict in words."""
    images, candidate = found["batch"]["images"], found["champion"]["candidate"]
    if found["verdict"] == "no_drift" and any(signal["drifted"] for signal in found["signals"]):
        return (
            f"The newest {images} images differ from those that {candidate} was first made from, but not from those "
            "that joined from the field since"
        )
    if found["verdict"] == "no_drift":
        return f"The newest {images} images cannot be told from those that {candidate} was made from"
    names = found["drifted"]
    listed = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
    return f"The newest {images} images differ from those that {candidate} was made from, in {listed}"


def write_list(path: Path, choices: Sequence[Choice], fetched: Fetched) -> None:
    """Write the images most worth labelling, most of all first: rank, key, uncertainty, why."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["rank", "key", "uncertainty", "why"])
    for rank, choice in enumerate(choices, 1):
        writer.writerow([rank, fetched.items[choice.place].key, f"{choice.uncertainty:.4f}", choice.why])
    write_text(path, stream.getvalue())
