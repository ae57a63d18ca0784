"""Which view of each image an epoch shows, in which order: the same with any number of workers, and after a resume."""

from __future__ import annotations

import math
from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import torch
from torch.utils.data import Sampler
from ultralytics.data.build import InfiniteDataLoader
from ultralytics.utils import RANK, WORLD_SIZE

from alambique.data.dataset import Dataset
from alambique.errors import ConfigurationError
from alambique.softlabels.key import ViewsRecipe
from alambique.softlabels.reader import Cache
from alambique.softlabels.schema import SoftViews
from alambique.tasks.detect.views import ViewDataset, mosaics


def view_of(epoch: int, closing: int, views: int) -> int:
    """The view of every image that an epoch shows: they take turns, before and after the mosaics end.

    Args:
        epoch: from 0.
        closing: the first epoch without mosaics.
        views: of each image.
    """
    first = mosaics(views)
    if epoch < closing and first:
        return epoch % first
    return first + (epoch - closing) % (views - first)


class ViewSampler(Sampler[tuple[int, int]]):
    """Every image once an epoch, as its index and a view's number.

    The number travels with the index, since workers, which fetch ahead, don't know the epoch.
    """

    def __init__(self, images: int, views: int, closing: int, seed: int, rank: int = 0, ranks: int = 1) -> None:
        """Shuffle `images` indices anew for each epoch.

        Args:
            images: how many.
            views: of each.
            closing: the first epoch without mosaics.
            seed: of the order.
            rank, ranks: which of how many processes this is; each has as many images, some of them twice if need be.
        """
        self.images, self.views, self.closing, self.seed = images, views, closing, seed
        self.rank, self.ranks = rank, ranks
        self.epoch, self.begun = 0, False

    def __len__(self) -> int:
        return math.ceil(self.images / self.ranks)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        epoch, self.epoch, self.begun = self.epoch, self.epoch + 1, True
        order = np.random.default_rng([self.seed, epoch]).permutation(self.images)
        mine = np.resize(order, len(self) * self.ranks)[self.rank :: self.ranks]
        view = view_of(epoch, self.closing, self.views)
        return iter([(int(index), view) for index in mine])

    def set_epoch(self, epoch: int) -> None:
        """Begin with `epoch`, as a resumed training does.

        Once begun, each epoch follows the one before: upstream's call at every epoch comes after workers fetched ahead.
        """
        if not self.begun:
            self.epoch = epoch


class ViewLoader(InfiniteDataLoader):  # type: ignore[misc]
    """Upstream's loader, whose workers live as long as the training.

    Its generator, which upstream's loops seed, decides nothing here: views and their order have seeds of their own.
    """

    def __init__(self, dataset: ViewDataset, sampler: ViewSampler, batch: int, workers: int, pin_memory: bool) -> None:
        super().__init__(
            dataset,
            batch_size=min(batch, len(sampler)),
            sampler=sampler,
            num_workers=workers,
            pin_memory=pin_memory,
            collate_fn=dataset.collate_fn,
            generator=torch.Generator(),
        )

    def reset(self) -> None:
        """Nothing: upstream starts its workers anew when the mosaics end, but here the sampler sees to that."""


def build(
    data: Dataset, cache: Cache[SoftViews], settings: SimpleNamespace, batch: int, device: torch.device
) -> ViewLoader:
    """The cached views, in the order in which a training shows them.

    Args:
        data: the dataset.
        cache: what the teachers said to its views.
        settings: upstream's, of the training.
        batch: images that this process takes at a time.
        device: that it trains on.
    Raises:
        ConfigurationError: the cache holds no views.
    """
    if not isinstance(cache.recipe, ViewsRecipe):
        raise ConfigurationError("the cache holds boxes, not views; set soft_labels.kind: views, and run it again")
    views = ViewDataset(data, cache.recipe, cache)
    closing = settings.epochs - settings.close_mosaic
    sampler = ViewSampler(len(views), cache.recipe.views, closing, settings.seed, max(RANK, 0), WORLD_SIZE)
    return ViewLoader(views, sampler, batch, settings.workers, device.type != "cpu")
