"""The pruning plan: which widths remove a fraction of a target; `structured_pruning` removes the channels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ultralytics.nn.tasks import DetectionModel

from alambique.config import detect
from alambique.config.detect import Importance
from alambique.evaluation.measures import Metrics
from alambique.process.timing import cpu
from alambique.tasks.base import PruningPlans
from alambique.tasks.yolo import network, pruning_target, sensitivity, widths
from alambique.tasks.yolo.channel_importance import Scorer, scorer
from alambique.tasks.yolo.dataset import YoloDataset
from alambique.tasks.yolo.evaluate import COCO, validation
from alambique.tasks.yolo.sensitivity import Sensitivity
from alambique.tasks.yolo.structured_pruning import shrink
from alambique.tasks.yolo.widths import Slot, Widths


def plans(
    model: DetectionModel,
    dataset: YoloDataset,
    params: Any,
    ratios: Sequence[float],
    measured: Mapping[str, Any] | None = None,
) -> PruningPlans:
    """The widths that remove each of the rising `ratios` of the target.

    Args:
        model: is left as it was.
        dataset: val's images measure the sensitivity, where `prune.widths` asks for it.
        measured: content of that sensitivity, if it was measured before.
    Raises:
        ConfigurationError: the network's widths allow no such ratio; the message names the nearest one.
        DataError: val holds no boxes, and the widths depend on them.
    """
    result = _sensitivity(model, dataset, params, measured)
    chosen = widths.schedule(model, params.prune.target, ratios, params.input_size, sensitivity.layer_cost(result))
    rows = [[[*slot, width] for slot, width in plan.items()] for plan in chosen]
    return PruningPlans(rows, result and result.content())


def narrow(
    model: DetectionModel, full: DetectionModel, plan: list[Any], dataset: YoloDataset, params: Any
) -> DetectionModel:
    """A network with the plan's widths and the most important channels of `model`; see `Task.prune`."""
    chosen: Widths = {Slot(layer, part): width for layer, part, width in plan}
    return shrink(model, widths.build(full, chosen), _scorer(dataset, params))


def removed(full: DetectionModel, pruned: DetectionModel, params: Any) -> Metrics:
    """What was removed of the target.

    Returns:
        target, removed; where there are such options importance, rounds; for latency, in ms, both networks' and the
        processor they were timed on.
    """
    how = params.prune
    options = {"importance": how.importance, "rounds": how.rounds} if isinstance(how, detect.Prune) else {}
    if how.ratio == 0:
        return {**options, "target": how.target, "removed": 0.0}
    costs = pruning_target.against(full, how.target, params.input_size)(pruned)
    metrics = {**options, "target": how.target, "removed": costs.removed}
    if how.target == "latency":
        metrics |= {"latency_ms_before": costs.full, "latency_ms": costs.narrow, "cpu": cpu()}
    return metrics


def _sensitivity(
    model: DetectionModel, dataset: YoloDataset, params: Any, measured: Mapping[str, Any] | None
) -> Sensitivity | None:
    if getattr(params.prune, "widths", "uniform") == "uniform":
        return None
    if measured is not None:
        return Sensitivity.of(measured)
    # Evaluation's own settings are no parameters of pruning: `evaluate.threshold` shall not prune anew.
    measures = validation(network.class_names(model), params.input_size, dataset, COCO)
    return sensitivity.measure(model, measures, _scorer(dataset, params), params.input_size, params.seed)


def _scorer(dataset: YoloDataset, params: Any) -> Scorer:
    importance: Importance = getattr(params.prune, "importance", "magnitude")
    return scorer(importance, dataset, params.input_size, params.seed)
