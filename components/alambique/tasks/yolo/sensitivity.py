"""Sensitivity of each layer: mAP50-95 on val after narrowing it alone, without training (Li et al. 2017, "Pruning
Filters for Efficient ConvNets", §3.2), and how sensitive layers stay wider because of it.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from ultralytics.nn.tasks import DetectionModel

from alambique.layout import WEIGHTS
from alambique.runtimes.base import Program, Validation
from alambique.tasks.yolo import network
from alambique.tasks.yolo.channel_importance import Scorer
from alambique.tasks.yolo.chunk_split import split
from alambique.tasks.yolo.export import open_checkpoint
from alambique.tasks.yolo.structured_pruning import shrink
from alambique.tasks.yolo.widths import LayerCost, Slot, Widths, build, narrower, proportional, widths

RATIOS = (0.25, 0.5, 0.75)
"""About the fractions of a layer's channels that are removed: widths come in steps."""

IMAGES = 200
"""At most so many of val, drawn by seed; each is measured once for each layer and ratio."""

logger = logging.getLogger(__name__)


class Sensitivity(NamedTuple):
    """A network's sensitivity.

    Attributes:
        map50_95: of the network as it is.
        by_slot: from the fraction of a slot's channels that is removed to the mAP50-95 that is left.
    """

    map50_95: float
    by_slot: dict[Slot, dict[float, float]]

    def content(self) -> dict[str, Any]:
        """As plain values, for a file; see `tasks.base.PruningPlans`."""
        layers = [
            {"layer": slot.layer, "part": slot.part, "map50_95": [[ratio, left] for ratio, left in points.items()]}
            for slot, points in self.by_slot.items()
        ]
        return {"map50_95": self.map50_95, "layers": layers}

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> Sensitivity:
        """The inverse of `content`."""
        by_slot = {Slot(row["layer"], row["part"]): dict(row["map50_95"]) for row in content["layers"]}
        return cls(content["map50_95"], by_slot)


def layer_cost(sensitivity: Sensitivity | None) -> LayerCost:
    """Cost of narrowing a layer: the removed fraction of its channels, plus the fraction of mAP50-95 lost by it.

    Where the next step always is the cheapest, an insensitive layer is narrowed as without a sensitivity, and one that
    loses all of mAP at a quarter of its channels a fifth as fast. Between the measured fractions the loss is
    interpolated, from 0 at no removal; it never falls as more is removed, and what rises by narrowing counts as no
    loss.

    Args:
        sensitivity: None: nothing is known to be lost.
    """
    if sensitivity is None:
        return proportional
    full, curves = sensitivity.map50_95, {}
    for slot, points in sensitivity.by_slot.items():
        ratios = sorted(points)
        lost = [max(full - points[ratio], 0) / full if full else 0.0 for ratio in ratios]
        curves[slot] = [0.0, *ratios], np.maximum.accumulate([0.0, *lost])

    def cost(slot: Slot, removed: float) -> float:
        return removed + (float(np.interp(removed, *curves[slot])) if slot in curves else 0.0)

    return cost


def measure(model: DetectionModel, validation: Validation, scorer: Scorer, image_size: int, seed: int) -> Sensitivity:
    """Narrow one layer after the other, and measure each network.

    Args:
        model: is left as it was.
        image_size: side of the input, pixels.
    Raises:
        DataError: val holds no boxes.
    """
    images = validation.samples
    drawn = [images[index] for index in np.sort(np.random.default_rng(seed).permutation(len(images))[:IMAGES])]

    def headline(narrow: DetectionModel) -> float:
        return validation.score(_program(narrow, image_size), drawn)[0]

    full, prepared = widths(model), _prepared(scorer, model)
    result = Sensitivity(headline(model), {slot: {} for slot in full})
    for slot, points in result.by_slot.items():
        for width in _candidates(full, slot):
            narrow = shrink(model, build(model, {**full, slot: width}), prepared)
            points[1 - width / full[slot]] = headline(narrow)
        losses = [f"{left - result.map50_95:+.4f} without {100 * ratio:.0f} %" for ratio, left in points.items()]
        if losses:
            logger.info("layer %d %s: mAP50-95 %s of its channels", *slot, ", ".join(losses))
    return result


def _candidates(full: Widths, slot: Slot) -> list[int]:
    """The widths nearest to the ratios, widest first, each once."""
    steps = []
    plan = narrower(full, full, slot)
    while plan:
        steps.append(plan[slot])
        plan = narrower(plan, full, slot)
    nearest = [min(steps, key=lambda width: abs(1 - width / full[slot] - ratio)) for ratio in RATIOS if steps]
    return list(dict.fromkeys(nearest))


def _program(model: DetectionModel, image_size: int) -> Program:
    """The network as `evaluate` would open it: in half precision on disk."""
    with tempfile.TemporaryDirectory() as scratch:
        network.save(model, Path(scratch) / WEIGHTS, image_size)
        return open_checkpoint(Path(scratch) / WEIGHTS, model.task, torch.get_num_threads())


def _prepared(scorer: Scorer, model: DetectionModel) -> Scorer:
    """`scorer` for many copies of one network, whose gradients are computed once."""
    probe = split(model).float().eval()
    scorer.prepare(probe)
    gradients = {name: parameter.grad for name, parameter in probe.named_parameters()}

    def prepare(copy: DetectionModel) -> None:
        for name, parameter in copy.named_parameters():
            gradient = gradients[name]
            parameter.grad = None if gradient is None else gradient.clone()

    return scorer._replace(prepare=prepare)
