"""Augmented views of images, each the same pixels in every process, and the teacher's answers to them in a batch.

A view's randomness comes from hash(seed, image, view) and from nothing else. So the teacher can look at it once, and
every training shows students what it saw: a CRC-32 of the pixels proves it.
"""

from __future__ import annotations

import hashlib
import random
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from ultralytics.cfg import get_cfg
from ultralytics.data.augment import Albumentations, Compose, Mosaic
from ultralytics.data.dataset import YOLODataset

from alambique.data.dataset import Dataset
from alambique.errors import IntegrityError
from alambique.softlabels.key import ViewsRecipe
from alambique.softlabels.schema import SoftViews
from alambique.tasks.detect import dense
from alambique.tasks.detect.dataset import SampleDataset
from alambique.tasks.detect.samples import every, inside

LABELLED = "labelled"
"""The batch's key for whether an image has labels, (batch,): where it has none, the teacher is the only target."""

IMAGES_IN_MEMORY = 1 << 29
"""Bytes of decoded images that a process keeps: a mosaic takes its four from the whole dataset, not from a buffer."""


def mosaics(views: int) -> int:
    """How many of an image's views, the first ones, may be mosaics; the last quarter, or one, is for the end."""
    return views - max(1, views // 4)


@contextmanager
def seeded(*parts: object) -> Iterator[None]:
    """Python's and NumPy's global generators, from which upstream draws, follow from `parts`; afterwards they go on."""
    digest = hashlib.sha256("\n".join(map(str, parts)).encode()).digest()
    before = random.getstate(), np.random.get_state()
    random.seed(digest)
    np.random.seed(np.frombuffer(digest, "<u4"))
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])


class PoolMosaic(Mosaic):  # type: ignore[misc]
    """Upstream's, with partners from all images of the same kind instead of those that a worker loaded lately.

    Labelled and unlabelled images stay apart: a label that is missing must not count as background.
    """

    def get_indexes(self) -> list[int]:
        return random.choices(self.dataset.pool, k=self.n - 1)  # noqa: S311 - not for secrets


class ViewDataset(SampleDataset):
    """Views of the labelled train images and the unlabelled ones, by the image's index and the view's number.

    Attributes:
        names: of the images, their paths inside data/images, by index.
        pool: indices of the images that may join the present one in a mosaic.
    """

    def __init__(self, data: Dataset, recipe: ViewsRecipe, teacher: Mapping[str, SoftViews] | None = None) -> None:
        """Index the labelled images, then the unlabelled ones.

        Args:
            data: the dataset.
            recipe: how many views, of which size, with which augmentation and seed.
            teacher: its answers by the image's name, which become a part of every item; None to render only.
        """
        images = every(data)
        labelled = len(data.images("train"))
        self.pools = range(labelled), range(labelled, len(images))
        self.pool = self.pools[0]
        self.recipe, self.teacher = recipe, teacher
        self.names = [inside(data, sample.image) for sample in images]
        super().__init__(
            images,
            data={"names": dict(enumerate(recipe.classes)), "channels": 3},
            imgsz=recipe.image_size,
            augment=True,
            hyp=get_cfg(overrides=recipe.augmentation),
        )
        self.max_buffer_length = IMAGES_IN_MEMORY // (3 * self.imgsz**2)
        self.closing_transforms = self.build_transforms(get_cfg(overrides={**recipe.augmentation, "mosaic": 0.0}))

    def build_transforms(self, hyp: SimpleNamespace) -> Compose:
        transforms = super().build_transforms(hyp)
        geometry, *others = transforms.transforms
        geometry.transforms[0] = PoolMosaic(self, imgsz=self.imgsz, p=hyp.mosaic)
        # Albumentations, where it is installed, has randomness of its own.
        return Compose([geometry, *(other for other in others if not isinstance(other, Albumentations))])

    def close_mosaic(self, hyp: SimpleNamespace) -> None:
        """A view's number says whether it is a mosaic."""

    def __getitem__(self, place: tuple[int, int]) -> dict[str, Any]:
        index, view = place
        name = self.names[index]
        self.pool = self.pools[index not in self.pools[0]]
        transforms = self.transforms if view < mosaics(self.recipe.views) else self.closing_transforms
        with seeded(self.recipe.seed, name, view):
            item: dict[str, Any] = transforms(self.get_image_and_label(index))
        item[LABELLED] = index in self.pools[0]
        if self.teacher is not None:
            item |= self._kept(self.teacher[name], view, item["img"])
        return item

    def _kept(self, soft: SoftViews, view: int, pixels: Tensor) -> dict[str, Tensor]:
        if (found := checksum(pixels)) != (expected := int(soft.checksums[view])):
            raise IntegrityError(
                f"view {view} of {soft.image} has the CRC-32 {found:08x}, but the teacher saw {expected:08x}: other "
                "versions of libraries, or another kind of processor, draw it otherwise; run the soft_labels stage "
                "again here (`dvc repro --force soft_labels`)"
            )
        return dense.unpack(soft, view, len(self.recipe.classes))

    @staticmethod
    def collate_fn(batch: list[dict[str, Any]]) -> dict[str, Any]:
        """Upstream's, and a row per image of what upstream does not know."""
        collated: dict[str, Any] = YOLODataset.collate_fn(batch)
        ours = {
            key: torch.stack(collated[key]) for key in (dense.ANCHORS, dense.LOGITS, dense.BOXES) if key in collated
        }
        return {**collated, **ours, LABELLED: torch.tensor(collated[LABELLED])}


def checksum(pixels: Tensor) -> int:
    """CRC-32 of an image's bytes as the training loop gets them, (3, height, width), uint8, RGB."""
    return zlib.crc32(pixels.numpy().data)
