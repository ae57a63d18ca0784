"""Random views of images, drawn from the image's name and the view's number: the same to the last pixel every time.

So the teachers' soft labels of a view are computed once, and the student is trained on that very view later (Shen &
Xing 2022, "A Fast Knowledge Distillation Framework for Visual Recognition"). Mixing two images is drawn likewise.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image

from alambique.config.classify import Augment
from alambique.tasks.images.preprocess import Box, centre, cut, read

RATIO = 4 / 3
"""A view's sides differ by this factor at most."""
TRIES = 10
"""Crops that may fall outside the image before the middle is taken."""
MIXUP = 0.2
"""Both parameters of the Beta distribution that mixup's shares come from (Zhang et al. 2018); CutMix has 1."""


class View(NamedTuple):
    """A random part of an image, perhaps with another mixed in.

    Attributes:
        pixels: (size, size, 3), RGB.
        other: place of the image that is mixed in, among those of `Views`; the image's own where none is.
        share: how much of the view is the image's own, 0 to 1.
    """

    pixels: NDArray[np.uint8]
    other: int
    share: float

    @property
    def checksum(self) -> int:
        """CRC-32 of the pixels: tells whether two views are the same."""
        return zlib.crc32(self.pixels.tobytes())


class Views:
    """Any number of views of each of some images, drawn from their `names`; `size` is the side of a view, pixels."""

    def __init__(self, images: Sequence[Path], names: Sequence[str], size: int, augment: Augment) -> None:
        self.images, self.names, self.size, self.augment = images, names, size, augment

    def __len__(self) -> int:
        return len(self.images)

    def view(self, index: int, number: int) -> View:
        """The view of a number, from 0, of an image.

        Raises:
            DataError: the file, or that of the image which is mixed in, is not an image.
        """
        generator = self._generator(index, number)
        pixels = self._crop(index, generator)
        if self.augment.mix == "none":
            return View(pixels, index, 1.0)
        other = int(generator.integers(len(self.images)))
        second = self._crop(other, self._generator(other, number))
        if self.augment.mix == "mixup":
            share = float(generator.beta(MIXUP, MIXUP))
            mixed = np.rint(share * pixels + (1 - share) * second).astype(np.uint8)
            return View(mixed, other, share)
        return _cutmix(pixels, second, other, generator)

    def _generator(self, index: int, number: int) -> Generator:
        digest = hashlib.sha256(f"{self.names[index]} {number}".encode()).digest()
        return np.random.default_rng(np.frombuffer(digest, np.uint32))

    def _crop(self, index: int, generator: Generator) -> NDArray[np.uint8]:
        # Of twice a view's size, a crop is seldom smaller than the view.
        image = read(self.images[index], least=2 * self.size)
        pixels = cut(image, _box(image, self.augment.crop, generator), self.size)
        return pixels[:, ::-1].copy() if generator.random() < self.augment.flip else pixels


def _box(image: Image.Image, least: float, generator: Generator) -> Box:
    """A random part of an image with at least this share of its area, as Inception's crops (Szegedy et al. 2015)."""
    for _ in range(TRIES):
        area = image.width * image.height * generator.uniform(least, 1)
        ratio = np.exp(generator.uniform(-np.log(RATIO), np.log(RATIO)))
        width, height = float(np.sqrt(area * ratio)), float(np.sqrt(area / ratio))
        if width <= image.width and height <= image.height:
            left = generator.uniform(0, image.width - width)
            top = generator.uniform(0, image.height - height)
            return left, top, min(left + width, image.width), min(top + height, image.height)
    return centre(image)


def _cutmix(first: NDArray[np.uint8], second: NDArray[np.uint8], other: int, generator: Generator) -> View:
    """A rectangle of the second image in the first (Yun et al. 2019); its area is uniform."""
    size = len(first)
    side = size * np.sqrt(generator.random())
    x, y = generator.uniform(0, size, 2)
    left, right = (int(np.clip(x + half, 0, size)) for half in (-side / 2, side / 2))
    top, bottom = (int(np.clip(y + half, 0, size)) for half in (-side / 2, side / 2))
    mixed = first.copy()
    mixed[top:bottom, left:right] = second[top:bottom, left:right]
    return View(mixed, other, 1 - (right - left) * (bottom - top) / size**2)
