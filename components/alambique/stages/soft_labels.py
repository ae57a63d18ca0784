"""Cache one shard of the teachers' soft labels, for labelled and unlabelled training images.

Reads   data/, models/teacher/
Writes  soft_labels/<shard>/{soft_labels.arrow, manifest.json}, metrics/soft_labels/<shard>.json
"""

from __future__ import annotations

from pathlib import Path

from alambique import layout
from alambique.stages.work import produce


def run(project: Path, shard: str) -> None:
    """Run the teachers once over the images of `shard`."""
    produce(
        project,
        layout.shard(shard),
        f"soft_labels/{shard}",
        lambda task, params, target: task.soft_labels(project, params, int(shard), target),
    )
