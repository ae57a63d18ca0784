"""How a network is quantized to INT8 for each runtime, and on which images its ranges are measured."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from alambique.data.dataset import Dataset
from alambique.errors import ConfigurationError, DataError
from alambique.files import sha256
from alambique.runtimes.base import Quantization, StaticInt8, WeightOnly
from alambique.tasks.base import Calibration
from alambique.tasks.yolo.dataset import YoloDataset
from alambique.tasks.yolo.preprocess import preprocess

OPERATORS = ("Add", "Concat", "Conv", "MaxPool", "Mul", "Resize", "Sigmoid", "Split")
"""What ONNX Runtime computes in INT8. With the convolutions alone, every activation would be turned to float and back:
no faster than FP32."""
CONVOLUTIONS = frozenset({"Conv", "Convolution", "GroupConvolution"})


def quantization(runtime: str, inputs: list[Any]) -> Quantization:
    """Static where the runtime computes in INT8; of the weights alone for MNN, which computes in FP32."""
    if runtime == "mnn":
        return WeightOnly(8)
    return StaticInt8(inputs, OPERATORS, float_nodes)


def float_nodes(nodes: Mapping[str, tuple[str, list[str]]], output: str) -> list[str]:
    """What stays in floating point in every INT8 network: the head's last convolutions and all that follows them.

    One scale for box coordinates (hundreds of pixels) and for scores (below one) would leave nothing of the scores.

    Args:
        nodes: by a node's name its operator and the nodes whose outputs it takes.
        output: the node of the network's first output.
    Returns:
        their names, sorted.
    """
    reached: set[str] = set()
    waiting = [output]
    while waiting:
        name = waiting.pop()
        if name in reached or name not in nodes:
            continue
        reached.add(name)
        operator, sources = nodes[name]
        if operator not in CONVOLUTIONS:
            waiting += sources
    return sorted(reached)


def calibration(dataset: YoloDataset, image_size: int, count: int, seed: int) -> Calibration:
    """Training images as a network takes them; see `calibration_images`."""
    images = calibration_images(dataset, count, seed)
    return Calibration([preprocess(image, image_size)[0] for image in images], describe(dataset, images))


def calibration_images(dataset: Dataset, count: int, seed: int) -> list[Path]:
    """Draw `count` training images, or all if there are fewer, which together show every class that train holds.

    First those which add most classes, then at random.

    Raises:
        DataError: train is empty, or shows a single one of several classes: ranges measured there fit no other.
        ConfigurationError: so few images cannot show every class.
    """
    train = dataset.images("train")
    images = [train[index] for index in np.random.default_rng(seed).permutation(len(train))]
    shown = {image: {int(row[0]) for row in dataset.boxes(image)} for image in images}
    wanted: set[int] = set().union(*shown.values())
    if not images or len(wanted) < min(2, len(dataset.classes)):
        raise DataError(
            f"the {len(images)} training images below {dataset.root} show {len(wanted)} of {len(dataset.classes)} "
            "classes: INT8 needs more to calibrate on; add labelled images"
        )
    drawn: list[Path] = []
    missing = wanted
    while missing and len(drawn) < count:
        drawn.append(max(images, key=lambda image: len(shown[image] & missing)))
        missing = missing - shown[drawn[-1]]
    if missing:
        names = ", ".join(dataset.classes[index] for index in sorted(missing))
        raise ConfigurationError(f"quantize.images: {count} images cannot show every class; {names} would be missing")
    rest = [image for image in images if image not in drawn]
    return drawn + rest[: count - len(drawn)]


def describe(dataset: Dataset, images: list[Path]) -> dict[str, Any]:
    """What tells one calibration set from another: a digest over the images' contents in their order, how many they
    are, and how many boxes of each class they show."""
    contents = "".join(f"{sha256(image)}\n" for image in images)
    boxes = Counter(int(row[0]) for image in images for row in dataset.boxes(image))
    return {
        "calibration_images": len(images),
        "calibration_digest": hashlib.sha256(contents.encode()).hexdigest(),
        "calibration_boxes": {name: boxes[index] for index, name in enumerate(dataset.classes)},
    }
