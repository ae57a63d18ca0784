"""The objective by which students are trained, and pruned students recover: labels alone, or labels and teachers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alambique.config import Params
from alambique.layout import SOFT_LABELS
from alambique.softlabels.reader import Cache
from alambique.stages.work import teacher_folders
from alambique.tasks import Task
from alambique.tasks.base import Network, Objective
from alambique.tasks.cards import read_card


def by_labels(task: Task, network: Network, dataset: Any, params: Params) -> Objective:
    """Labels alone; as many samples an epoch as `by_method` has, so that both train for equally many steps."""
    samples = dataset.size("train") + dataset.size("unlabelled")
    return task.label_objective(network, dataset, params, samples)


def by_method(task: Task, network: Network, dataset: Any, params: Params, project: Path) -> Objective:
    """By `distill.method`.

    The cache is opened whatever the method takes of it: it is an input of the stage, and a damaged one is refused.

    Raises:
        IntegrityError: the cache is damaged, or was made from other samples or by other teachers than today's.
    """
    if params.distill.method == "none":
        return by_labels(task, network, dataset, params)
    teachers = teacher_folders(project, params)
    recipe = task.soft_label_recipe([read_card(folder) for folder in teachers], dataset, params)
    cache = Cache.open(project / SOFT_LABELS, recipe)
    return task.distillation_objective(network, dataset, params, cache, teachers)
