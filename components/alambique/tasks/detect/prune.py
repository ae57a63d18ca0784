"""How a detector is pruned: whole channels are removed, then the teacher's soft labels help it recover."""

from __future__ import annotations

import shutil
from pathlib import Path

from ultralytics.nn.tasks import DetectionModel

from alambique.config.detect import Params, Prune
from alambique.data.dataset import Dataset
from alambique.evaluation.measures import Metrics
from alambique.files import write_json
from alambique.layout import CURVES, DATA, WEIGHTS, checkpoint
from alambique.stages.benchmark import cpu
from alambique.tasks.cards import read_card
from alambique.tasks.detect import costs, network
from alambique.tasks.detect.rounds import prune_and_recover

SENSITIVITY = "sensitivity.json"
"""The mAP50-95 that narrowing each layer alone leaves; written where the widths depend on it."""


def prune(project: Path, params: Params, student: str, target: Path) -> Metrics:
    """Remove `params.prune.ratio` of the distilled student's target; a share of 0 copies the student.

    Returns:
        parameters and macs before and after; importance, rounds; target, the removed share of it, and for latency both
        networks' and the processor they were timed on; what recovery reports; with widths: sensitivity, the mAP50-95
        that is lost by slot and removed share.
    Raises:
        ConfigurationError: the network's widths allow no such share.
        DataError: val holds no boxes, and the widths depend on them.
        IntegrityError: the distilled checkpoint is not what its card says, the soft labels are damaged, or training
            brought back what was removed.
    """
    source = project / checkpoint(student, "distilled", params.seeds[0])
    distilled = read_card(source)
    wide = network.load(source / WEIGHTS)
    data, how = Dataset.load(project / DATA), params.prune
    metrics: Metrics = {}
    if how.ratio == 0:
        for name in (WEIGHTS, CURVES):
            shutil.copyfile(source / name, target / name)
    else:
        metrics, scan = prune_and_recover(wide, project, params, data, target)
        if scan:
            write_json(target / SENSITIVITY, scan.content())
            metrics["sensitivity"] = scan.drops()
    card = network.write_card(
        target,
        kind="pruned",
        student=student,
        image_size=params.input_size,
        data=data.digest("train"),
        teachers=distilled["teachers"],
        source=distilled["sha256"],
    )
    return {
        **metrics,
        **network.figures(card),
        "parameters_before": distilled["parameters"],
        "macs_before": distilled["macs"],
        "importance": how.importance,
        "rounds": how.rounds,
        **_removed(wide, network.load(target / WEIGHTS), how, params.input_size),
    }


def _removed(wide: DetectionModel, pruned: DetectionModel, how: Prune, image_size: int) -> Metrics:
    if how.ratio == 0:
        return {"target": how.target, "removed": 0.0}
    found = costs.against(wide, how.target, image_size)(pruned)
    figures: Metrics = {"target": how.target, "removed": found.removed}
    if how.target == "latency":
        figures |= {"latency_ms_before": found.full, "latency_ms": found.narrow, "cpu": cpu()}
    return figures
