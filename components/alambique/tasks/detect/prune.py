"""How a detector is pruned: whole channels are removed, then the teacher's soft labels help it recover."""

from __future__ import annotations

import shutil
from pathlib import Path

from alambique.config import Params
from alambique.data.dataset import Dataset
from alambique.errors import IntegrityError
from alambique.files import read_json
from alambique.layout import DATA, checkpoint
from alambique.tasks import Metrics
from alambique.tasks.detect import network
from alambique.tasks.detect.distill import recover
from alambique.tasks.detect.prunable import shrink
from alambique.tasks.detect.widths import build, choose

CURVES = "curves.csv"


def prune(project: Path, params: Params, student: str, target: Path) -> Metrics:
    """Remove `params.prune.macs` of the distilled student's multiply-accumulates; a share of 0 copies the student.

    Returns:
        parameters and macs before and after, the removed share, and what recovery reports.
    Raises:
        ConfigurationError: the network's widths allow no such share.
        IntegrityError: training brought back what was removed.
    """
    source = project / checkpoint(student, "distilled")
    wide = network.load(source / network.WEIGHTS)
    recovery: Metrics = {}
    if params.prune.macs == 0:
        for name in (network.WEIGHTS, CURVES):
            shutil.copyfile(source / name, target / name)
    else:
        narrow = shrink(wide, build(wide, choose(wide, params.prune.macs, params.image_size)))
        expected = network.parameters(narrow)
        recovery = recover(narrow, project, params, params.prune.epochs, target)
        _check_still_pruned(target / network.WEIGHTS, expected)
    card = _write_card(project, params, student, target)
    before = network.macs(wide, params.image_size)
    return recovery | {
        "parameters": card["parameters"],
        "parameters_before": network.parameters(wide),
        "macs": card["macs"],
        "macs_before": before,
        "macs_removed": 1 - card["macs"] / before,
        "size_bytes": card["size_bytes"],
    }


def _check_still_pruned(weights: Path, expected: int) -> None:
    found = network.parameters(network.load(weights))
    if found != expected:
        raise IntegrityError(
            f"the pruned network had {expected:,} parameters before recovery and has {found:,} after it; "
            "training must keep the network it is given: report this as a bug"
        )


def _write_card(project: Path, params: Params, student: str, target: Path) -> Metrics:
    distilled = read_json(project / checkpoint(student, "distilled") / network.CARD)
    return network.write_card(
        target,
        "pruned",
        params.image_size,
        Dataset.load(project / DATA).digest("train"),
        student=student,
        teacher_sha256=distilled["teacher_sha256"],
        source=distilled["sha256"],
    )
