"""Structured pruning: remove whole channels, those that matter least, and all that depends on them.

torch-pruning finds the dependent layers in any network (Fang et al. 2023, "DepGraph: Towards Any Structural Pruning").
All layers lose the same ratio of their channels: the one that removes the wanted ratio of the multiply-accumulates.
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
from alambique.tasks.classifiers.validation import logits_layer
from alambique.tasks.images import network
from alambique.tasks.images.dataset import Dataset
from alambique.tasks.images.network import Classifier, ClassifierNetwork, split_blocks
from alambique.tasks.images.preprocess import preprocess

TOLERANCE = 0.03
"""How far the removed ratio may be from the wanted one: widths come in steps."""
STEP = 8
"""Widths are multiples of it: runtimes compute in blocks of channels."""
TRIES = 12
"""Networks that are made to come near the ratio; each halves the interval of channel ratios."""
IMAGES = 128
"""From train, drawn by seed, for the gradients of the taylor importance."""
BATCH = 16
IMPORTANCES = {
    "magnitude": tp.importance.GroupMagnitudeImportance,
    "bn_scale": tp.importance.BNScaleImportance,
    "taylor": tp.importance.GroupTaylorImportance,
}


def channel_ratio(full: ClassifierNetwork, ratio: float, importance: Importance, image_size: int) -> float:
    """The ratio of channels without which a network has lost a ratio of its multiply-accumulates.

    Args:
        full: as of `prepared`.
        ratio: of the multiply-accumulates to remove, 0 to 1.
        importance: which channels stay: of large weights, of large scales in batch norm, or of large weight × gradient.
    Returns:
        0 to 1, for `without_channels`.
    Raises:
        ConfigurationError: no widths come within the tolerance; the message names the nearest ratio.
    """
    before = network.macs(full.model, image_size)
    tries: list[tuple[float, float]] = []
    low, high = 0.0, 1.0
    for _ in range(TRIES):
        channels = (low + high) / 2
        narrow = without_channels(full, channels, importance, image_size)
        removed = 1 - network.macs(narrow.model, image_size) / before
        tries.append((removed, channels))
        if abs(removed - ratio) < TOLERANCE / 10:
            break
        low, high = (channels, high) if removed < ratio else (low, channels)
    nearest, channels = min(tries, key=lambda row: abs(row[0] - ratio))
    if abs(nearest - ratio) > TOLERANCE:
        raise ConfigurationError(
            f"prune.ratio: {ratio} of this network's {before:,} multiply-accumulates cannot be removed; the nearest "
            f"ratio is {nearest:.2f}: set that, or choose another network for the student"
        )
    return channels


def prepared(
    full: ClassifierNetwork, importance: Importance, dataset: Dataset, image_size: int, seed: int
) -> ClassifierNetwork:
    """A copy of a network that can be pruned: YOLO26's blocks split, with the gradients that taylor needs.

    The gradients are of the cross-entropy on some labelled images, drawn by `seed`.
    """
    if full.architecture.family == "yolo26-cls" and not full.split:
        copy = full._replace(model=split_blocks(full.model).eval(), split=True)
    else:
        copy = full._replace(model=deepcopy(full.model))
    if importance == "taylor":
        _backward(copy.model, dataset, image_size, seed)
    return copy


def without_channels(
    full: ClassifierNetwork, ratio: float, importance: Importance, image_size: int
) -> ClassifierNetwork:
    """A copy of a network that `prepared` made, without a ratio, 0 to 1, of each layer's channels."""
    model = deepcopy(full.model)
    for parameter, copy in zip(full.model.parameters(), model.parameters(), strict=True):
        copy.grad = None if parameter.grad is None else parameter.grad.clone()  # a copied parameter has none
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pruner = tp.pruner.BasePruner(
            model,
            torch.zeros(1, 3, image_size, image_size),
            IMPORTANCES[importance](),
            pruning_ratio=ratio,
            max_pruning_ratio=0.95,
            round_to=STEP,
            ignored_layers=list(_kept(model, len(full.classes))),
        )
        pruner.step()
    model.zero_grad(set_to_none=True)
    return full._replace(model=model.eval())


def _backward(model: Classifier, dataset: Dataset, image_size: int, seed: int) -> None:
    images = dataset.images("train")
    drawn = np.sort(np.random.default_rng(seed).permutation(len(images))[:IMAGES])
    model.zero_grad()
    for start in range(0, len(drawn), BATCH):
        batch = [images[index] for index in drawn[start : start + BATCH]]
        inputs = torch.from_numpy(np.concatenate([preprocess(image, image_size) for image in batch]))
        labels = torch.tensor([dataset.label(image) for image in batch])
        nn.functional.cross_entropy(model(inputs), labels).backward()  # type: ignore[no-untyped-call]


def _kept(model: Classifier, classes: int) -> Iterator[nn.Module]:
    """The layers whose outputs are not pruned: the logits, and attention, whose channels mean heads."""
    from ultralytics.nn.modules.block import PSABlock

    for module in model.modules():
        if isinstance(module, PSABlock):
            yield from (inner for inner in module.modules() if isinstance(inner, nn.Conv2d))
    if head := logits_layer(model, classes):
        yield model.get_submodule(head)
