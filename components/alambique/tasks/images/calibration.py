"""The training images that INT8 is calibrated on, and how classifiers are quantized for each runtime."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from alambique.files import sha256
from alambique.tasks.base import Calibration
from alambique.tasks.images.dataset import Dataset
from alambique.tasks.images.preprocess import preprocess

CONVOLUTIONAL = ("Add", "Concat", "Conv", "MaxPool", "Mul", "Resize", "Sigmoid", "Split")
"""With the convolutions alone in INT8, every activation would be converted to float and back: no faster than FP32."""
OPERATORS = (*CONVOLUTIONAL, "Gemm", "MatMul", "GlobalAveragePool", "ReduceMean", "HardSigmoid", "HardSwish")
"""Computed in INT8 by ONNX Runtime; the logits, too, of which only the order and the rough distance count."""


def calibration(dataset: Dataset, count: int, image_size: int, seed: int) -> Calibration:
    """Inputs of `draw`'s images, with their number and digest."""
    images = draw(dataset, count, seed)
    contents = "".join(f"{sha256(image)}\n" for image in images)
    return Calibration(
        [preprocess(image, image_size) for image in images],
        {"calibration_images": len(images), "calibration_digest": hashlib.sha256(contents.encode()).hexdigest()},
    )


def draw(dataset: Dataset, count: int, seed: int) -> list[Path]:
    """Draw `count` training images, or all if there are fewer, of the classes in turn; equal seeds draw the same."""
    images = dataset.require("train")
    shuffled = [images[index] for index in np.random.default_rng(seed).permutation(len(images))]
    per_class: dict[int, int] = {}
    order = []
    for image in shuffled:
        label = dataset.label(image)
        per_class[label] = per_class.get(label, 0) + 1
        order.append((per_class[label], label, image))
    return [image for _, _, image in sorted(order, key=lambda row: row[:2])[:count]]
