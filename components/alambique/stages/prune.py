"""Remove channels, heads or layers of the distilled student and recover by distillation.

Reads   data/, soft_labels/, models/teacher/, models/distilled/<first seed>/<student>/, search/
Writes  models/pruned/<student>/{weights.pt, card.json, curves.csv}, metrics/prune/<student>.json
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from alambique.config import Params
from alambique.evaluation.measures import Metrics
from alambique.files import write_json
from alambique.layout import CURVES, DATA, checkpoint
from alambique.report import search
from alambique.stages.iterative_pruning import prune_and_recover
from alambique.stages.work import costs, produce, write_checkpoint_card
from alambique.tasks import Task
from alambique.tasks.cards import card_files, read_card

SENSITIVITY = "sensitivity.json"
"""The metric lost by narrowing each layer alone; written where the widths depend on it."""


def run(project: Path, student: str) -> None:
    """Remove the ratio that the search chose of `student`, physically; a ratio of 0 copies the distilled student.

    Raises:
        ConfigurationError: the network's shape allows no such ratio; the message names the nearest one.
        IntegrityError: the distilled checkpoint is not what its card says, the soft labels are damaged, or training
            brought back what was removed.
    """
    ratio = search.read(project)["shares"][student]

    def work(task: Task, params: Params, target: Path) -> Metrics:
        return prune(project, task, with_ratio(params, ratio), student, target)

    produce(project, checkpoint(student, "pruned"), f"prune/{student}", work)


def prune(project: Path, task: Task, params: Params, student: str, target: Path) -> Metrics:
    """Write the pruned checkpoint and its card into `target`; see `run`.

    Returns:
        parameters and macs before and after, what was removed of which target, what recovery reports, and the
        sensitivity by layer where widths depend on it.
    """
    source = project / checkpoint(student, "distilled", params.seeds[0])
    distilled = read_card(source)
    full, dataset = task.load(source), task.dataset(project / DATA)
    metrics: Metrics = {}
    if params.prune.ratio == 0:
        _copy(source, target)
    else:
        metrics, sensitivity = prune_and_recover(full, project, task, params, dataset, target)
        if sensitivity:
            write_json(target / SENSITIVITY, sensitivity)
            metrics["sensitivity"] = losses(sensitivity, params.HEADLINE)
    card = write_checkpoint_card(
        task,
        target,
        params,
        kind="pruned",
        data=dataset.digest("train"),
        student=student,
        teachers=distilled["teachers"],
        source=distilled["sha256"],
    )
    return {
        **metrics,
        **costs(card),
        "parameters_before": distilled["parameters"],
        "macs_before": distilled["macs"],
        **task.removed(full, task.load(target), params),
    }


def losses(sensitivity: dict[str, Any], headline: str) -> dict[str, dict[str, float]]:
    """By layer and removed fraction, the headline metric that is lost; without layers that cannot be narrower."""
    return {
        f"{row['layer']} {row['part']}": {f"{ratio:.3g}": sensitivity[headline] - left for ratio, left in row[headline]}
        for row in sensitivity["layers"]
        if row[headline]
    }


def with_ratio(params: Params, ratio: float) -> Params:
    """These parameters with another `prune.ratio`."""
    return params.model_copy(update={"prune": params.prune.model_copy(update={"ratio": ratio})})


def _copy(source: Path, target: Path) -> None:
    for name in (*card_files(read_card(source)), CURVES):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, target / name)
