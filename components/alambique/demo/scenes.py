"""Detection scenes from the 1,797 handwritten digits that scikit-learn ships.

A scene is a noisy grey canvas with a few digits pasted at random places and sizes. No digit appears in two splits,
so the test split measures handwriting that was never trained on. Unlabelled scenes are made the same way and come
without their boxes. (Digits: E. Alpaydin and C. Kaynak, UCI ML repository, as in `sklearn.datasets.load_digits`.)
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits

from alambique.demo.digits import DIGITS


@dataclass(frozen=True)
class Scenes:
    """How many scenes each split gets, and how they look.

    Attributes:
        train, val, test: labelled scenes.
        unlabelled: scenes without boxes.
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
