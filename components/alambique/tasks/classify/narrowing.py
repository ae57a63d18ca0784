"""A narrower network: of each layer the channels that matter least go, and all that hangs on them, for good.

torch-pruning finds what belongs together in whatever network it is given (Fang et al. 2023, "DepGraph: Towards Any
Structural Pruning"), and all layers lose the same share of their channels, as many as a share of the MACs takes.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from copy import deepcopy

import numpy as np
import torch
import torch_pruning as tp
from torch import nn

from alambique.config.classify import Importance
from alambique.errors import ConfigurationError
from alambique.tasks.classify import network
from alambique.tasks.classify.architectures import Classifier, split_blocks
from alambique.tasks.classify.dataset import Dataset
from alambique.tasks.classify.network import Checkpoint
from alambique.tasks.classify.preprocess import preprocess

TOLERANCE = 0.03
"""How far the removed share may lie from the wanted one: widths come in steps."""
STEP = 8
"""Widths are multiples of it: runtimes compute in blocks of channels."""
TRIES = 12
"""Networks that are made to come near the share; each halves what is not known of the ratio."""
IMAGES = 128
"""From train, drawn by seed, whose gradients tell what matters (taylor)."""
BATCH = 16


def narrowed(wide: Checkpoint, share: float, importance: Importance, image_size: int) -> Checkpoint:
    """A copy of a network without a share of its multiply-accumulates.

    Args:
        wide: is left as it was; with `gradients`, if the importance is taylor.
        share: to remove.
        importance: which channels stay: of large weights, of large scales in batch norm, or of large weight × gradient.
        image_size: side of the input, pixels.
    Raises:
        ConfigurationError: no widths come within the tolerance; the message names the nearest share.
    """
    whole = wide if wide.split or wide.network.family != "yolo26-cls" else _split(wide)
    before = network.macs(wide.model, image_size)
    best: tuple[float, Checkpoint] | None = None
    low, high = 0.0, 1.0
    for _ in range(TRIES):
        ratio = (low + high) / 2
        made = _without(whole, ratio, importance, image_size)
        removed = 1 - network.macs(made.model, image_size) / before
        if best is None or abs(removed - share) < abs(best[0] - share):
            best = (removed, made)
        if abs(removed - share) < TOLERANCE / 10:
            break
        low, high = (ratio, high) if removed < share else (low, ratio)
    if best is None or abs(best[0] - share) > TOLERANCE:
        nearest = best[0] if best else 0.0
        raise ConfigurationError(
            f"prune.ratio: {share} of this network's {before:,} multiply-accumulates cannot be removed; the nearest "
            f"share is {nearest:.2f}: set that, or choose another network for the student"
        )
    return best[1]


def gradients(wide: Checkpoint, data: Dataset, image_size: int, seed: int) -> Checkpoint:
    """A copy of a network that holds the gradients of its loss on some labelled images, as taylor needs them."""
    made = wide if wide.split or wide.network.family != "yolo26-cls" else _split(wide)
    made = made._replace(model=deepcopy(made.model))
    images = data.images("train")
    drawn = np.sort(np.random.default_rng(seed).permutation(len(images))[:IMAGES])
    made.model.zero_grad()
    for start in range(0, len(drawn), BATCH):
        some = [images[index] for index in drawn[start : start + BATCH]]
        inputs = torch.from_numpy(np.concatenate([preprocess(image, image_size) for image in some]))
        truth = torch.tensor([data.label(image) for image in some])
        nn.functional.cross_entropy(made.model(inputs), truth).backward()  # type: ignore[no-untyped-call]
    return made


def _without(whole: Checkpoint, ratio: float, importance: Importance, image_size: int) -> Checkpoint:
    model = deepcopy(whole.model)
    for own, copy in zip(whole.model.parameters(), model.parameters(), strict=True):
        copy.grad = None if own.grad is None else own.grad.clone()  # which a copy of a parameter leaves behind
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pruner = tp.pruner.BasePruner(
            model,
            torch.zeros(1, 3, image_size, image_size),
            _score(importance),
            pruning_ratio=ratio,
            max_pruning_ratio=0.95,
            round_to=STEP,
            ignored_layers=list(_kept(model, len(whole.classes))),
        )
        pruner.step()
    model.zero_grad(set_to_none=True)
    return whole._replace(model=model.eval())


def _split(wide: Checkpoint) -> Checkpoint:
    return wide._replace(model=split_blocks(wide.model).eval(), split=True)


def _score(importance: Importance) -> tp.importance.Importance:
    match importance:
        case "magnitude":
            return tp.importance.GroupMagnitudeImportance(p=2)
        case "bn_scale":
            return tp.importance.BNScaleImportance()
        case "taylor":
            return tp.importance.GroupTaylorImportance()


def _kept(model: Classifier, classes: int) -> Iterator[nn.Module]:
    """The layers whose outputs are not narrowed: the classes, and attention, whose channels mean heads."""
    from ultralytics.nn.modules.block import PSABlock

    for module in model.modules():
        if isinstance(module, PSABlock):
            yield from (inner for inner in module.modules() if isinstance(inner, nn.Conv2d))
    last: nn.Module | None = None
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv2d) and _outputs(module) == classes:
            last = module
    if last is not None:
        yield last


def _outputs(module: nn.Linear | nn.Conv2d) -> int:
    return module.out_features if isinstance(module, nn.Linear) else module.out_channels
