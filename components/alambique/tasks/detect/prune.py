"""How a detector is pruned: whole channels are removed, then the teacher's soft labels help it recover."""

from __future__ import annotations

import shutil
from pathlib import Path

from ultralytics.nn.tasks import DetectionModel

from alambique.config import Params, Prune
from alambique.data.dataset import Dataset
from alambique.errors import IntegrityError
from alambique.layout import CURVES, DATA, WEIGHTS, checkpoint
from alambique.stages.benchmark import cpu
from alambique.tasks import Metrics
from alambique.tasks.detect import costs, network
from alambique.tasks.detect.distill import recover
from alambique.tasks.detect.importance import scorer
from alambique.tasks.detect.predict import read_card
from alambique.tasks.detect.prunable import shrink
from alambique.tasks.detect.widths import build, choose


def prune(project: Path, params: Params, student: str, target: Path) -> Metrics:
    """Remove `params.prune.share` of the distilled student's target; a share of 0 copies the student.

    Returns:
        parameters and macs before and after; importance; target, the removed share of it, and for latency both
        networks' and the processor they were timed on; what recovery reports.
    Raises:
        ConfigurationError: the network's widths allow no such share.
        IntegrityError: the distilled checkpoint is not what its card says, the soft labels are damaged, or training
            brought back what was removed.
    """
    source = project / checkpoint(student, "distilled", params.seeds[0])
    distilled = read_card(source)
    wide = network.load(source / WEIGHTS)
    data, how = Dataset.load(project / DATA), params.prune
    recovery: Metrics = {}
    if how.share == 0:
        for name in (WEIGHTS, CURVES):
            shutil.copyfile(source / name, target / name)
    else:
        narrow = build(wide, choose(wide, how.target, how.share, params.image_size))
        shrink(wide, narrow, scorer(how.importance, data, params.image_size, params.seed))
        expected = network.parameters(narrow)
        recovery = recover(narrow, project, params, how.epochs, target)
        _check_still_pruned(target / WEIGHTS, expected)
    card = network.write_card(
        target,
        kind="pruned",
        student=student,
        image_size=params.image_size,
        data=data.digest("train"),
        teachers=distilled["teachers"],
        source=distilled["sha256"],
    )
    return {
        **recovery,
        **network.figures(card),
        "parameters_before": distilled["parameters"],
        "macs_before": distilled["macs"],
        "importance": how.importance,
        **_removed(wide, network.load(target / WEIGHTS), how, params.image_size),
    }


def _removed(wide: DetectionModel, pruned: DetectionModel, how: Prune, image_size: int) -> Metrics:
    found = costs.against(wide, how.target, image_size)(pruned)
    figures: Metrics = {"target": how.target, "removed": found.removed if how.share else 0.0}
    if how.target == "latency":
        figures |= {"latency_ms_before": found.full, "latency_ms": found.narrow, "cpu": cpu()}
    return figures


def _check_still_pruned(weights: Path, expected: int) -> None:
    found = network.parameters(network.load(weights))
    if found != expected:
        raise IntegrityError(
            f"the pruned network had {expected:,} parameters before recovery and has {found:,} after it; "
            "training must keep the network it is given: report this as a bug"
        )
