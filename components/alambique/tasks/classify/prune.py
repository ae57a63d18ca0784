"""How a classifier is pruned: whole channels are removed, then the teacher's soft labels help it recover."""

from __future__ import annotations

import shutil
from pathlib import Path

from alambique.config.classify import Params
from alambique.evaluation.measures import Metrics
from alambique.layout import CURVES, DATA, WEIGHTS, checkpoint
from alambique.tasks.cards import read_card
from alambique.tasks.classify import network
from alambique.tasks.classify.dataset import Dataset
from alambique.tasks.classify.distill import recover
from alambique.tasks.classify.narrowing import gradients, narrowed


def prune(project: Path, params: Params, student: str, target: Path) -> Metrics:
    """Remove `params.prune.ratio` of the distilled student's multiply-accumulates; a share of 0 copies the student.

    Returns:
        parameters and macs before and after; importance; the removed share; what recovery reports.
    Raises:
        ConfigurationError: the network's widths allow no such share; the message names the nearest one.
        IntegrityError: the distilled checkpoint is not what its card says, or the soft labels are damaged.
    """
    source = project / checkpoint(student, "distilled", params.seeds[0])
    distilled, how = read_card(source), params.prune
    data = Dataset.load(project / DATA)
    metrics: Metrics = {}
    if how.ratio == 0:
        for name in (WEIGHTS, CURVES):
            shutil.copyfile(source / name, target / name)
    else:
        wide = network.load(source / WEIGHTS)
        if how.importance == "taylor":
            wide = gradients(wide, data, params.input_size, params.seed)
        narrow = narrowed(wide, how.ratio, how.importance, params.input_size)
        metrics = recover(narrow.model, project, params, target)
        network.save(narrow, target / WEIGHTS)
    card = network.write_card(
        target,
        "pruned",
        params.input_size,
        data.digest("train"),
        student=student,
        teachers=distilled["teachers"],
        source=distilled["sha256"],
    )
    return {
        **metrics,
        **network.figures(card),
        "parameters_before": distilled["parameters"],
        "macs_before": distilled["macs"],
        "importance": how.importance,
        "target": "macs",
        "removed": 1 - card["macs"] / distilled["macs"],
    }
