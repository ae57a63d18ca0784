"""Cache one shard of the teachers' soft labels, for labelled and unlabelled training samples.

Reads   data/, models/teacher/
Writes  soft_labels/<shard>/{soft_labels.arrow, manifest.json}, metrics/soft_labels/<shard>.json
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from alambique import layout
from alambique.config import Params
from alambique.evaluation.measures import Metrics
from alambique.softlabels import writer
from alambique.stages.work import produce, teacher_folders
from alambique.tasks import Task
from alambique.tasks.cards import read_card


def run(project: Path, shard: str) -> None:
    """Run the teachers once over the samples of `shard`: every n-th of all, from the shard's number on.

    Raises:
        IntegrityError: a teacher is not what its card says, or was trained for other classes than today's.
    """

    def work(task: Task, params: Params, target: Path) -> Metrics:
        dataset, teachers = task.dataset(project / layout.DATA), teacher_folders(project, params)
        recipe = task.soft_label_recipe([read_card(folder) for folder in teachers], dataset, params)
        totals: list[tuple[str, Mapping[str, float]]] = []

        def counted(rows: Iterator[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
            for row in rows:
                totals.append((row[0], task.row_totals(row)))
                yield row

        rows = task.soft_labels(teachers, dataset, params, recipe, int(shard))
        writer.write(target, counted(rows), recipe, int(shard), len(params.soft_labels.shards))
        return task.shard_metrics(totals)

    produce(project, layout.shard(shard), f"soft_labels/{shard}", work)
