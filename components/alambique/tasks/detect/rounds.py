"""Pruning in rounds: some channels go, the teacher's soft labels help the network recover, and more channels go.

A stage that was killed goes on in the round where it was, since every state of a training carries what its round began
with: the widths, the weights, the scan, and the epochs of the rounds before.
"""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import NamedTuple

import torch
import ultralytics
from ultralytics.nn.tasks import DetectionModel

from alambique.config.detect import Params
from alambique.data.dataset import Dataset
from alambique.errors import IntegrityError
from alambique.evaluation.measures import Metrics
from alambique.layout import CURVES, WEIGHTS
from alambique.process.resume_dir import state_file
from alambique.tasks import curves, trainer_state
from alambique.tasks.cards import heard
from alambique.tasks.detect import network, sensitivity
from alambique.tasks.detect.distill import recover
from alambique.tasks.detect.importance import scorer
from alambique.tasks.detect.prunable import shrink
from alambique.tasks.detect.sensitivity import Scan
from alambique.tasks.detect.widths import Slot, Widths, build, schedule
from alambique.tasks.trainer_state import Earlier, State

logger = logging.getLogger(__name__)


class Start(NamedTuple):
    """What a round begins with.

    Attributes:
        number: of the round, from 1.
        plans: the widths that each round narrows to.
        model: so narrow already, and not recovered.
        scan: that the plans were made by, if one was.
        curves: the epochs of the rounds before.
    """

    number: int
    plans: list[Widths]
    model: DetectionModel
    scan: Scan | None
    curves: list[curves.Row]


def shares(share: float, rounds: int) -> list[float]:
    """The share of the full network's target that is gone after each round; each keeps (1 − share)^(1/rounds)."""
    return [float(1 - (1 - share) ** (number / rounds)) for number in range(1, rounds)] + [share]


def prune_and_recover(
    wide: DetectionModel, project: Path, params: Params, data: Dataset, target: Path
) -> tuple[Metrics, Scan | None]:
    """Narrow `wide` to `params.prune.ratio` in `params.prune.rounds`; write weights.pt and curves.csv into `target`.

    Returns:
        what the last recovery reports, with all rounds' epochs and steps; the scan, if widths depend on one.
    Raises:
        ConfigurationError: the network's widths allow no such share.
        DataError: val holds no boxes, and the widths depend on them.
        IntegrityError: the soft labels are damaged, or training brought back what was removed.
    """
    stage = _identity(wide, project, params, data)
    start = _resumed(wide, stage) or _first(wide, params, data)
    while True:
        earlier = Earlier(stage, start.curves, _state(start))
        logger.info(
            "round %d of %d: %s parameters are left of %s, before recovery",
            *(start.number, params.prune.rounds),
            *(f"{network.parameters(each):,}" for each in (start.model, wide)),
        )
        expected = network.parameters(start.model)
        metrics = recover(start.model, project, params, params.prune.epochs, target, earlier)
        recovered = network.load(target / WEIGHTS)
        if (found := network.parameters(recovered)) != expected:
            raise IntegrityError(
                f"the pruned network had {expected:,} parameters before recovery and has {found:,} after it; "
                "training must keep the network it is given: report this as a bug"
            )
        if start.number == len(start.plans):
            return metrics, start.scan
        which = scorer(params.prune.importance, data, params.input_size, params.seed)
        narrow = shrink(recovered, build(wide, start.plans[start.number]), which)
        start = start._replace(number=start.number + 1, model=narrow, curves=curves.read(target / CURVES))


def _first(wide: DetectionModel, params: Params, data: Dataset) -> Start:
    how = params.prune
    which = scorer(how.importance, data, params.input_size, params.seed)
    scan = sensitivity.asked(wide, data, params, which)
    plans = schedule(wide, how.target, shares(how.ratio, how.rounds), params.input_size, sensitivity.pain(scan))
    return Start(1, plans, shrink(wide, build(wide, plans[0]), which), scan, [])


def _identity(wide: DetectionModel, project: Path, params: Params, data: Dataset) -> str:
    """sha256 over what all rounds depend on."""
    known = (torch.__version__, ultralytics.__version__, params.model_dump_json(), heard(project, params))
    splits = [data.digest(split) for split in ("train", "val", "unlabelled") if data.has(split)]
    digest = hashlib.sha256(repr((known, splits)).encode())
    for name, tensor in wide.state_dict().items():
        digest.update(name.encode() + tensor.numpy().tobytes())
    return digest.hexdigest()


def _state(start: Start) -> State:
    return {
        "number": start.number,
        "plans": [[[*slot, width] for slot, width in plan.items()] for plan in start.plans],
        # Training changes the model in place.
        "model": {name: tensor.clone() for name, tensor in start.model.state_dict().items()},
        "scan": start.scan and start.scan.content(),
    }


def _resumed(wide: DetectionModel, stage: str) -> Start | None:
    """The round in which an earlier try was killed."""
    file = state_file()
    earlier = trainer_state.earlier(file, stage) if file else None
    if earlier is None:
        return None
    begun = earlier.begun
    plans = [{Slot(layer, part): width for layer, part, width in plan} for plan in begun["plans"]]
    model = build(wide, plans[begun["number"] - 1])
    model.load_state_dict(begun["model"])
    return Start(begun["number"], plans, model, begun["scan"] and Scan.of(begun["scan"]), earlier.curves)
