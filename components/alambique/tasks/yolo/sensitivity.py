"""What narrowing each layer alone costs, without training: mAP50-95 on val (Li et al. 2017, "Pruning Filters for
Efficient ConvNets", §3.2), and how that makes sensitive layers stay wider.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from ultralytics.nn.tasks import DetectionModel

from alambique.config.detect import Evaluate, Params
from alambique.data.dataset import Dataset
from alambique.errors import DataError
from alambique.layout import WEIGHTS
from alambique.tasks.detect import engines, network
from alambique.tasks.detect.halves import split
from alambique.tasks.detect.importance import Scorer
from alambique.tasks.detect.predict import Predictor
from alambique.tasks.detect.prunable import shrink
from alambique.tasks.detect.validation import Validation, mean_average_precision
from alambique.tasks.detect.widths import Pain, Slot, Widths, build, in_proportion, narrower, widths

RATIOS = (0.25, 0.5, 0.75)
"""About the shares of a layer's channels that are removed: widths come in steps."""

IMAGES = 200
"""At most so many of val, drawn by seed; each is seen once for each layer and ratio."""

logger = logging.getLogger(__name__)


class Scan(NamedTuple):
    """A network's sensitivity.

    Attributes:
        map50_95: of the network as it is.
        found: by slot, from the share of its channels that is removed to the mAP50-95 that is left.
    """

    map50_95: float
    found: dict[Slot, dict[float, float]]

    def drops(self) -> dict[str, dict[str, float]]:
        """By slot and share, in words, the mAP50-95 that is lost; without slots that cannot be narrower."""
        return {
            f"{slot.layer} {slot.part}": {f"{removed:.3g}": self.map50_95 - left for removed, left in points.items()}
            for slot, points in self.found.items()
            if points
        }

    def content(self) -> dict[str, Any]:
        """As plain values, for a file."""
        layers = [
            {"layer": slot.layer, "part": slot.part, "map50_95": [[share, left] for share, left in points.items()]}
            for slot, points in self.found.items()
        ]
        return {"map50_95": self.map50_95, "layers": layers}

    @classmethod
    def of(cls, content: dict[str, Any]) -> Scan:
        """The inverse of `content`."""
        found = {Slot(each["layer"], each["part"]): dict(map(tuple, each["map50_95"])) for each in content["layers"]}
        return cls(content["map50_95"], found)


def asked(model: DetectionModel, data: Dataset, params: Params, scorer: Scorer) -> Scan | None:
    """The scan that `prune.widths` asks for; None where widths are uniform.

    Args:
        model, scorer: as of `scan`.
        data: val's images are measured.
        params: params.yaml.
    Raises:
        DataError: val holds no boxes.
    """
    if params.prune.widths == "uniform":
        return None
    # Evaluation's own settings are no parameters of pruning: `evaluate.threshold` shall not prune anew.
    validation = Validation(data, network.class_names(model), params.input_size, Evaluate())
    return scan(model, validation, scorer, params.seed)


def pain(scan: Scan | None) -> Pain:
    """What narrowing hurts: the removed share of a layer's channels, plus the share of mAP50-95 that is lost by it.

    Where the next step always is the least painful, an insensitive layer is narrowed as without a scan, and one that
    loses all of mAP at a quarter of its channels a fifth as fast. Between the measured shares the loss is interpolated,
    from 0 at no removal; it never falls as more is removed, and what rises by narrowing counts as no loss.

    Args:
        scan: None: nothing is known to be lost.
    """
    if scan is None:
        return in_proportion
    curves = {}
    for slot, points in scan.found.items():
        shares = sorted(points)
        lost = [max(scan.map50_95 - points[share], 0) / scan.map50_95 if scan.map50_95 else 0.0 for share in shares]
        curves[slot] = [0.0, *shares], np.maximum.accumulate([0.0, *lost])

    def hurts(slot: Slot, removed: float) -> float:
        return removed + (float(np.interp(removed, *curves[slot])) if slot in curves else 0.0)

    return hurts


def scan(model: DetectionModel, validation: Validation, scorer: Scorer, seed: int) -> Scan:
    """Narrow one layer after the other, and measure each network.

    Args:
        model: is left as it was.
        validation: its images are drawn from.
        scorer: which channels go.
        seed: which images.
    Raises:
        DataError: val holds no boxes.
    """
    images = validation.images
    drawn = [images[index] for index in np.sort(np.random.default_rng(seed).permutation(len(images))[:IMAGES])]

    def measure(network_: DetectionModel) -> float:
        judged = validation.judge(_predictor(network_, validation.image_size), drawn)
        score = mean_average_precision(judged, validation.dataset.classes) if judged else None
        if score is None:
            raise DataError(
                f"{validation.dataset.root}: val holds no boxes, by which prune.widths: sensitivity measures layers; "
                "add labelled images, or set prune.widths: uniform"
            )
        return score

    full, prepared = widths(model), _prepared(scorer, model)
    result = Scan(measure(model), {slot: {} for slot in full})
    for slot, points in result.found.items():
        for width in _tried(full, slot):
            narrow = shrink(model, build(model, {**full, slot: width}), prepared)
            points[1 - width / full[slot]] = measure(narrow)
        losses = [f"{left - result.map50_95:+.4f} without {100 * share:.0f} %" for share, left in points.items()]
        if losses:
            logger.info("layer %d %s: mAP50-95 %s of its channels", *slot, ", ".join(losses))
    return result


def _tried(full: Widths, slot: Slot) -> list[int]:
    """The widths nearest to the ratios, widest first, each once."""
    steps = [plan[slot] for plan in _alone(full, slot)]
    nearest = [min(steps, key=lambda width: abs(1 - width / full[slot] - ratio)) for ratio in RATIOS if steps]
    return list(dict.fromkeys(nearest))


def _alone(full: Widths, slot: Slot) -> Iterator[Widths]:
    """The networks in which `slot` alone is narrower."""
    plan = narrower(full, full, slot)
    while plan:
        yield plan
        plan = narrower(plan, full, slot)


def _predictor(model: DetectionModel, image_size: int) -> Predictor:
    """The network as `evaluate` would open it: in half precision on disk."""
    with tempfile.TemporaryDirectory() as scratch:
        network.save(model, Path(scratch) / WEIGHTS, image_size)
        engine = engines.checkpoint(Path(scratch) / WEIGHTS, torch.get_num_threads())
    return lambda image: engine(image)[0]


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
