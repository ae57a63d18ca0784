"""Pictures and detection scenes of the 1,797 handwritten digits that scikit-learn ships.

No digit appears in two splits, so the test split measures handwriting that was never trained on. (Digits: E. Alpaydin
and C. Kaynak, UCI ML repository, as in `sklearn.datasets.load_digits`.)
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


@dataclass(frozen=True)
class Digits:
    """Pictures of one digit each, turned, stretched, coloured, in noise: how many each split gets, and how large.

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


@dataclass(frozen=True)
class Scenes:
    """Noisy grey canvases with a few digits at random places and sizes: how many each split gets, and how they look.

    Attributes:
        train, val, test: labelled scenes.
        unlabelled: scenes made the same way, without their boxes.
        size: side of a scene, pixels.
        digits: most digits in a scene (at least one).
        seed: equal seeds give equal files; whatever it is, a digit belongs to one split.
    """

    train: int
    val: int
    test: int
    unlabelled: int = 0
    size: int = 96
    digits: int = 4
    seed: int = 0

    def write(self, target: Path) -> None:
        """Write a YOLO dataset: data.yaml, images/, labels/."""
        source = load_digits()
        generator = np.random.default_rng(self.seed)
        generator.permutation(len(source.target))  # as many draws as the order takes
        order = np.random.default_rng(0).permutation(len(source.target))
        pools = dict(zip(("train", "unlabelled", "val", "test"), np.array_split(order, 4), strict=True))
        for split, pool in pools.items():
            count: int = getattr(self, split)
            if count == 0:
                continue
            (target / "images" / split).mkdir(parents=True)
            if split != "unlabelled":
                (target / "labels" / split).mkdir(parents=True)
            for index in range(count):
                image, rows = self._scene(generator, source.images[pool], source.target[pool])
                Image.fromarray(image).convert("RGB").save(target / "images" / split / f"{index:05d}.png")
                if split != "unlabelled":
                    (target / "labels" / split / f"{index:05d}.txt").write_text("".join(rows))
        content = {split: f"images/{split}" for split in pools if getattr(self, split)}
        names = dict(enumerate(DIGITS))
        (target / "data.yaml").write_text(yaml.safe_dump({**content, "names": names}, sort_keys=False))

    def _scene(
        self, generator: np.random.Generator, images: NDArray[np.float64], labels: NDArray[np.int64]
    ) -> tuple[NDArray[np.uint8], list[str]]:
        canvas = generator.normal(40, 12, (self.size, self.size))
        rows: list[str] = []
        taken: list[tuple[int, int, int]] = []
        for _ in range(generator.integers(1, self.digits + 1)):
            side = int(generator.integers(self.size // 5, self.size // 2))
            x, y = (int(value) for value in generator.integers(0, self.size - side, 2))
            if any(x < u + s and u < x + side and y < v + s and v < y + side for u, v, s in taken):
                continue
            taken.append((x, y, side))
            pick = int(generator.integers(len(labels)))
            ink = np.asarray(Image.fromarray((images[pick] * 15.9).astype(np.uint8)).resize((side, side)), float)
            box = np.s_[y : y + side, x : x + side]
            canvas[box] = np.maximum(canvas[box], ink * generator.uniform(0.5, 1.0))
            ys, xs = np.nonzero(ink > 40)
            left, right, top, bottom = x + xs.min(), x + xs.max() + 1, y + ys.min(), y + ys.max() + 1
            center = ((left + right) / 2 / self.size, (top + bottom) / 2 / self.size)
            extent = ((right - left) / self.size, (bottom - top) / self.size)
            rows.append(f"{labels[pick]} {center[0]:.6f} {center[1]:.6f} {extent[0]:.6f} {extent[1]:.6f}\n")
        return canvas.clip(0, 255).astype(np.uint8), rows
