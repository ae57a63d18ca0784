"""Remove the channels: the weights that stay are copied into a narrower network of stock layers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch_pruning as tp
from torch import Tensor, nn
from ultralytics.nn.modules import Pose26, Segment26
from ultralytics.nn.tasks import DetectionModel

from alambique.tasks.yolo.channel_importance import Scorer, magnitude
from alambique.tasks.yolo.chunk_split import join, split

PROBE = 64
"""Side of the input that the dependency graph is traced with, pixels."""


def shrink(wide: DetectionModel, narrow: DetectionModel, scorer: Scorer | None = None) -> DetectionModel:
    """Carry the channels of `wide` that matter over into `narrow`.

    Args:
        wide: trained; is left as it was.
        narrow: of the same architecture, no layer wider than in `wide`; its weights are overwritten.
        scorer: tells which matter; by magnitude, if none is given.
    Returns:
        `narrow`.
    """
    scorer = scorer or magnitude()
    pruned = split(wide).float().eval()
    shapes = {name: convolution.out_channels for name, convolution in convolutions(split(narrow))}
    scorer.prepare(pruned)
    remove_channels(pruned, shapes, scorer)
    narrow.load_state_dict(join(pruned.state_dict()))
    return narrow


def remove_channels(model: DetectionModel, shapes: dict[str, int], scorer: Scorer) -> None:
    """Remove output channels of the convolutions of a split model, and all that goes with them, in place.

    Layers that are coupled (by sums, concatenations, depthwise convolutions, both heads) lose the same channels, those
    which matter least to the group.

    Args:
        model: as `chunk_split.split` returns it.
        shapes: how many output channels each convolution keeps, by name.
        scorer: prepared.
    """
    probe = torch.zeros(1, 3, PROBE, PROBE)
    graph = tp.DependencyGraph().build_dependency(model, probe, forward_fn=_heads, verbose=False)
    for name, convolution in convolutions(model):
        # Pruning one layer of a group prunes all of it: later members find nothing left to do.
        if excess := convolution.out_channels - shapes[name]:
            everything = list(range(convolution.out_channels))
            group = graph.get_pruning_group(convolution, tp.prune_conv_out_channels, everything)
            weakest = scorer.score(group).argsort()[:excess].tolist()
            graph.get_pruning_group(convolution, tp.prune_conv_out_channels, weakest).prune()


def convolutions(model: nn.Module) -> Iterator[tuple[str, nn.Conv2d | nn.ConvTranspose2d]]:
    """By name."""
    kinds = nn.Conv2d | nn.ConvTranspose2d
    return ((name, module) for name, module in model.named_modules() if isinstance(module, kinds))


def _heads(model: nn.Module, x: Tensor) -> list[Tensor]:
    # The raw maps of every branch: what follows them (boxes, the best scores) has no weights.
    head: Any = model.model[-1]  # type: ignore[index]
    if isinstance(head, Segment26):
        head.proto.training = True  # or the part that only training needs would keep its inputs
    outputs: dict[str, Any] = model(x)[1]
    branches = [outputs] if "boxes" in outputs else list(outputs.values())
    maps: list[Tensor] = []
    for branch in branches:
        for part, value in branch.items():
            if part != "feats":
                maps += value if isinstance(value, tuple) else [value]
    if isinstance(head, Pose26):
        maps += _spreads(head, branches[0]["feats"])
    return [output for output in maps if output.requires_grad]


def _spreads(head: Pose26, features: list[Tensor]) -> list[Tensor]:
    """The head's uncertainty of its keypoints, which it computes in training only."""
    branches = [(head.cv4, head.cv4_sigma)]
    if hasattr(head, "one2one_cv4"):
        branches.append((head.one2one_cv4, head.one2one_cv4_sigma))
    return [
        last(inner(feature))
        for inners, lasts in branches
        for inner, last, feature in zip(inners, lasts, features, strict=True)
    ]
