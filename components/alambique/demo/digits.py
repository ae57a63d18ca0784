"""Pictures of the 1,797 handwritten digits that scikit-learn ships: one each, turned, stretched, coloured, in noise.

No digit appears in two splits, so the test split measures handwriting that was never trained on. (Digits: E. Alpaydin
and C. Kaynak, UCI ML repository, as in `sklearn.datasets.load_digits`.)
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


@dataclass(frozen=True)
class Digits:
    """How many pictures each split gets, and how large they are.

    Attributes:
        train, val, test: pictures below folders of their classes, of each equally many as far as that goes.
        unlabelled: pictures in one folder.
        size: side of a picture, pixels.
        noise: standard deviation of the noise, 0 to 255.
    """

    train: int
    val: int
    test: int
    unlabelled: int = 0
    size: int = 48
    noise: float = 25.0

    def write(self, target: Path) -> None:
        """Write a folder a split, and in it a folder a class; equal settings give equal files."""
        source = load_digits()
        order = np.random.default_rng(0).permutation(len(source.target))
        generator = np.random.default_rng(1)
        shares = np.cumsum([0.2, 0.1, 0.3]) * len(order)
        pools = zip(("train", "val", "test", "unlabelled"), np.split(order, shares.astype(int)), strict=True)
        for split, pool in pools:
            count: int = getattr(self, split)
            for index in range(count):
                label = index % len(DIGITS)
                of_class = pool[source.target[pool] == label]
                digit = of_class[index // len(DIGITS) % len(of_class)]
                folder = target / split if split == "unlabelled" else target / split / DIGITS[label]
                folder.mkdir(parents=True, exist_ok=True)
                self._picture(source.images[digit], generator).save(folder / f"{index:05d}.png")

    def _picture(self, digit: NDArray[np.float64], generator: np.random.Generator) -> Image.Image:
        stroke = Image.fromarray((digit * 255 / 16).astype(np.uint8)).resize(
            (self.size, self.size), Image.Resampling.BICUBIC
        )
        turned = np.asarray(
            stroke.transform(stroke.size, Image.Transform.AFFINE, self._affine(generator), Image.Resampling.BILINEAR)
        )
        ink, paper = generator.uniform((140, 0), (255, 110), (3, 2)).T
        share = turned[..., None] / 255
        canvas = ink * share + paper * (1 - share) + generator.normal(0, self.noise, (self.size, self.size, 3))
        return Image.fromarray(canvas.clip(0, 255).astype(np.uint8))

    def _affine(self, generator: np.random.Generator) -> tuple[float, ...]:
        """Up to 20 degrees, four fifths to five quarters of the size, a tenth of it aside."""
        angle = np.deg2rad(generator.uniform(-20, 20))
        width, height = np.exp(generator.uniform(-0.22, 0.22, 2))
        matrix = np.array([[np.cos(angle) * width, np.sin(angle)], [-np.sin(angle), np.cos(angle) * height]])
        middle = np.full(2, self.size / 2)
        shift = middle - matrix @ (middle + generator.uniform(-self.size / 10, self.size / 10, 2))
        return (*matrix[0], shift[0], *matrix[1], shift[1])
