"""Which channels of a group of layers matter, as torch-pruning scores them.

A group holds all layers that lose the same channels. Each layer's scores are averaged over the group, so that one
number tells what a channel is worth everywhere (Fang et al. 2023, "DepGraph: Towards Any Structural Pruning", §3.3).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch_pruning as tp
from torch import Tensor
from ultralytics.cfg import get_cfg
from ultralytics.nn.tasks import DetectionModel

from alambique.config.detect import Importance
from alambique.tasks.yolo.dataset import YoloDataset
from alambique.tasks.yolo.sample_dataset import open_samples

IMAGES = 128
"""From train, drawn by seed: as many as gradients are accumulated over. Their sum differs little from that of all."""
BATCH = 16

Batch = dict[str, Any]


class Scorer(NamedTuple):
    """How the importance of channels is scored.

    Attributes:
        score: from a group to the importance of each of its channels, (channels,).
        prepare: called with the network, in the shape in which it is scored, before the first score.
    """

    score: Callable[[tp.Group], Tensor]
    prepare: Callable[[DetectionModel], None] = lambda model: None


def magnitude() -> Scorer:
    """By the squared L2 norm of a channel's weights: what is small does little. Needs no data."""
    return Scorer(tp.importance.GroupMagnitudeImportance(p=2))


def bn_scale() -> Scorer:
    """By the absolute scale that batch norm gives a channel (Liu et al. 2017, "Network Slimming").

    Every convolution that can be narrowed has a batch norm; torch-pruning has no score for a group without one.
    """
    return Scorer(tp.importance.BNScaleImportance())


def taylor(dataset: YoloDataset, image_size: int, seed: int) -> Scorer:
    """By the first-order change of the loss if a weight were zero, |w · ∂L/∂w| (Molchanov et al. 2019, eq. 8).

    Of convolutions alone: torch-pruning 1.6.1 leaves the scales of batch norm out.
    """
    batches = list(labelled_batches(dataset, image_size, seed))
    return Scorer(tp.importance.GroupTaylorImportance(), partial(accumulate_gradients, batches=batches))


def scorer(how: Importance, dataset: YoloDataset, image_size: int, seed: int) -> Scorer:
    """The one named in params.yaml; gradients are those of the dataset's labelled train images."""
    match how:
        case "magnitude":
            return magnitude()
        case "bn_scale":
            return bn_scale()
        case "taylor":
            return taylor(dataset, image_size, seed)


def labelled_batches(dataset: YoloDataset, image_size: int, seed: int) -> Iterator[Batch]:
    """Some labelled train images without augmentation, as the detection loss takes them; equal seeds draw the same."""
    samples = dataset.samples("train")
    drawn = np.sort(np.random.default_rng(seed).permutation(len(samples))[:IMAGES])
    opened = open_samples([samples[index] for index in drawn], dataset, imgsz=image_size, augment=False, hyp=get_cfg())
    for start in range(0, len(drawn), BATCH):
        batch: Batch = opened.collate_fn([opened[index] for index in range(start, min(start + BATCH, len(drawn)))])
        yield {**batch, "img": batch["img"].float() / 255}


def accumulate_gradients(model: DetectionModel, batches: Iterable[Batch]) -> None:
    """Sum the gradients of the detection loss over the batches, in place; batch norm keeps its statistics.

    Args:
        model: in evaluation mode; its heads, and so its loss, stay what they are when its blocks are rewritten.
        batches: as of `labelled_batches`.
    """
    model.args = get_cfg()  # upstream's weights of the loss's parts
    loss = model.init_criterion()
    model.zero_grad()
    for batch in batches:
        parts, _ = loss(model(batch["img"]), batch)
        parts.sum().backward()
