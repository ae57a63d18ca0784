"""How a network with a head is pruned: whole channels are removed, then it recovers by distillation."""

from __future__ import annotations

import shutil
from pathlib import Path

from alambique.config.heads import Heads
from alambique.errors import IntegrityError
from alambique.evaluation.measures import Metrics
from alambique.layout import CURVES, DATA, WEIGHTS, checkpoint
from alambique.tasks.cards import read_card
from alambique.tasks.detect import costs, network, widths
from alambique.tasks.detect.prunable import shrink
from alambique.tasks.heads.distill import recover
from alambique.tasks.heads.shapes import Shapes


def prune(project: Path, params: Heads, student: str, target: Path) -> Metrics:
    """Remove `params.prune.ratio` of the distilled student's target; a share of 0 copies the student.

    All layers are narrowed in proportion, and the channels that stay are those of the largest weights.

    Returns:
        parameters and macs before and after; target and the removed share of it; what recovery reports.
    Raises:
        ConfigurationError: the network's widths allow no such share.
        IntegrityError: the distilled checkpoint is not what its card says, the soft labels are damaged, or training
            brought back what was removed.
    """
    source = project / checkpoint(student, "distilled", params.seeds[0])
    distilled = read_card(source)
    data, how = Shapes.of(project / DATA, params.task), params.prune
    wide = network.load(source / WEIGHTS, params.task)
    metrics: Metrics = {}
    if how.ratio == 0:
        for name in (WEIGHTS, CURVES):
            shutil.copyfile(source / name, target / name)
    else:
        plan = widths.choose(wide, how.target, how.ratio, params.input_size)
        narrow = shrink(wide, widths.build(wide, plan))
        expected = network.parameters(narrow)
        metrics = recover(narrow, project, data, params, target)
        if (found := network.parameters(network.load(target / WEIGHTS, params.task))) != expected:
            raise IntegrityError(
                f"the pruned network had {expected:,} parameters before recovery and has {found:,} after it; "
                "training must keep the network it is given: report this as a bug"
            )
    card = network.write_card(
        target,
        kind="pruned",
        student=student,
        image_size=params.input_size,
        data=data.digest("train"),
        teachers=distilled["teachers"],
        source=distilled["sha256"],
        task=params.task,
    )
    left = network.load(target / WEIGHTS, params.task)
    return {
        **metrics,
        **network.figures(card),
        "parameters_before": distilled["parameters"],
        "macs_before": distilled["macs"],
        "target": how.target,
        "removed": costs.against(wide, how.target, params.input_size)(left).removed,
    }
