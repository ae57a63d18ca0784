"""The widths of a detector's layers, and the narrower architectures that leave it less to compute or to keep.

A narrower network is an ordinary one of its family whose YAML gives every layer its own width. So a pruned checkpoint
is made of stock layers, carries the YAML that rebuilds it, and stays narrow when `YOLO("weights.pt").train()` does
rebuild it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any, Literal, NamedTuple

import torch
from ultralytics.nn.modules import C2PSA, SPPF, C2f, C3k2, Conv, Segment
from ultralytics.nn.tasks import DetectionModel

from alambique.config.detect import Target
from alambique.errors import ConfigurationError
from alambique.tasks.yolo import pruning_target
from alambique.tasks.yolo.pruning_target import Costs


class Slot(NamedTuple):
    """A width that can be chosen: what layer number `layer` puts out, or what the blocks inside it work on."""

    layer: int
    part: Literal["out", "hidden"]


Widths = dict[Slot, int]
"""Channels by slot."""

LayerCost = Callable[[Slot, float], float]
"""Cost of removing a fraction, 0 to 1, of a slot's channels; monotone in the fraction."""


def widths(model: DetectionModel) -> Widths:
    """The widths of `model` that can be chosen.

    What attention works on is not among them, since its heads would have to change; nor is what follows from others:
    SPPF and C2PSA put out what they are given, and the detection head is as wide as its first input, but for what
    makes the prototypes of masks.
    """
    channels: Widths = {}
    for index, layer in enumerate(model.model[:-1]):
        if isinstance(layer, Conv):
            channels[Slot(index, "out")] = layer.conv.out_channels
        elif isinstance(layer, C2f):
            channels[Slot(index, "out")] = layer.cv2.conv.out_channels
            if not any(isinstance(block, torch.nn.Sequential) for block in layer.m):  # which holds attention
                channels[Slot(index, "hidden")] = layer.c
    if isinstance(head := model.model[-1], Segment):
        channels[Slot(head.i, "hidden")] = head.npr
    return channels


def build(model: DetectionModel, chosen: Widths) -> DetectionModel:
    """A network like `model` with the widths in `chosen`, initialised; the global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        narrow = type(model)(architecture(model, chosen), nc=model.nc, verbose=False)
    narrow.names, narrow.nc, narrow.task = model.names, model.nc, model.task
    return narrow


def architecture(model: DetectionModel, chosen: Widths) -> dict[str, Any]:
    """The YAML of a network like `model` with the widths in `chosen`."""
    content: dict[str, Any] = deepcopy(model.yaml)
    out: dict[int, int] = {}
    for index, (layer, row) in enumerate(zip(model.model[:-1], content["backbone"] + content["head"], strict=False)):
        arguments = row[3]
        if isinstance(layer, Conv | C2f):
            out[index] = arguments[0] = chosen[Slot(index, "out")]
        elif isinstance(layer, SPPF | C2PSA):
            out[index] = arguments[0] = out[index - 1]
        if isinstance(layer, C2f):
            expansion = _expansion(chosen.get(Slot(index, "hidden"), layer.c), out[index])
            if isinstance(layer, C3k2):  # a kind of C2f, whose YAML has other arguments
                arguments[1:3] = [arguments[1], expansion]
            else:
                shortcut = arguments[1] if len(arguments) > 1 else False
                arguments[1:] = [shortcut, 1, expansion]  # 1: groups
        elif isinstance(layer, C2PSA):
            arguments[1:2] = [_expansion(layer.c, out[index])]
    most = max(out.values())
    if isinstance(head := model.model[-1], Segment):
        content["head"][-1][3][2] = prototypes = chosen[Slot(head.i, "hidden")]
        most = max(most, prototypes)
    depth = content["scales"][content["scale"]][0]
    # The scale's name is kept: Ultralytics builds m, l and x from other blocks.
    content["scales"] = {content["scale"]: [depth, 1.0, most]}
    return content


def proportional(slot: Slot, removed: float) -> float:
    """The cost of uniform widths."""
    return removed


def narrowings(full: Widths, cost: LayerCost = proportional) -> list[Widths]:
    """From `full` to the narrowest network, one step of one width at a time.

    The next step is always that whose layer costs least afterwards; among equals, of the deepest layer.
    """
    plans = [full]
    while steps := [(slot, plan) for slot in full if (plan := narrower(plans[-1], full, slot))]:
        _, plan = min(steps, key=lambda step: (cost(step[0], 1 - step[1][step[0]] / full[step[0]]), -step[0].layer))
        plans.append(plan)
    return plans


def narrower(plan: Widths, full: Widths, slot: Slot) -> Widths | None:
    """`plan` with one step less of one width; None where that would leave nothing."""
    left = plan[slot] - _step(slot, full)
    return {**plan, slot: left} if left > 0 else None


def schedule(
    model: DetectionModel, target: Target, shares: Sequence[float], image_size: int, cost: LayerCost = proportional
) -> list[Widths]:
    """The widths which remove each of `shares` of the `target` of `model`, as nearly as steps allow.

    Args:
        shares: rising; only the last must be hit.
        image_size: side of the input that the target is measured for, pixels.
    Raises:
        ConfigurationError: none comes within the target's tolerance of the last; the message names the nearest share.
    """
    plans = narrowings(widths(model), cost)
    compare = pruning_target.against(model, target, image_size)
    measured: dict[int, Costs] = {}

    def removed(index: int) -> float:
        if index not in measured:
            measured[index] = compare(build(model, plans[index]))
        return measured[index].removed

    chosen = [0]
    for share in shares:
        low = chosen[-1]
        enough = bisect_left(range(len(plans)), share, lo=low, hi=len(plans) - 1, key=removed)
        known = {index for index in measured if index >= low}
        nearest = min({max(enough - 1, low), enough} | known, key=lambda index: abs(removed(index) - share))
        chosen.append(nearest)
    if abs(removed(nearest) - shares[-1]) > pruning_target.TOLERANCES[target]:
        raise ConfigurationError(
            f"prune.ratio: {share} of this network's {measured[nearest].full:,.4g} {pruning_target.UNITS[target]} "
            f"cannot be removed; the nearest share is {removed(nearest):.2f}: set that, or choose another scale for "
            "the student"
        )
    return [plans[index] for index in chosen[1:]]


def _step(slot: Slot, full: Widths) -> int:
    # Runtimes compute in blocks of 16 channels, so that a dozen costs as much as 16 and, in INT8, more: on a YOLO26n
    # which lost half of its MACs, these steps save 5 to 10 % of the latency against the finest that Ultralytics allows,
    # 8 for what a layer puts out and 2 inside. What is narrow leaves no such choice: narrow blocks stay as they are.
    wide = full[slot] >= (64 if slot.part == "out" else 48)
    return 16 if wide else 8 if slot.part == "out" or full[slot] >= 24 else full[slot]


def _expansion(hidden: int, out: int) -> float:
    # Ultralytics takes int(out * expansion): the half keeps rounding errors from costing a channel.
    return (hidden + 0.5) / out
