"""From an image file to a classifier's input: one definition for all runtimes, in Pillow, as deployments have it.

Also which images' inputs INT8 is calibrated on.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from alambique.data.image_values import lost_values
from alambique.errors import DataError
from alambique.files import sha256
from alambique.tasks.base import Calibration
from alambique.tasks.images.dataset import Dataset

DESCRIPTION = {
    "color": "RGB",
    "range": [0.0, 1.0],
    "resize": "the largest centred square, scaled by Pillow's antialiased bilinear filter",
    "layout": "NCHW",
}
"""For a candidate's card: what whoever deploys it has to do."""

Box = tuple[float, float, float, float]
"""Left, top, right, bottom, pixels."""


def read(path: Path, least: int | None = None) -> Image.Image:
    """An image file as RGB, upright.

    Args:
        least: a JPEG may be decoded at a fraction of its size with this on each side, which is several times faster.
    Raises:
        DataError: the file is missing or not an image, or some of its values would be lost.
    """
    image, lost = decode(path, least)
    if lost is not None:
        raise DataError(
            f"{path} has {lost}, which networks and devices do not read: they take 8 bits a channel and one page; "
            "scale the values that matter to 0–255 and save it anew, then version the data again"
        )
    return image


def decode(path: Path, least: int | None = None) -> tuple[Image.Image, str | None]:
    """An image file upright and as RGB, and what is lost of it by that: see `lost_values`, and `read`."""
    try:
        with Image.open(path) as file:
            lost = lost_values(file)
            if least is not None:
                file.draft("RGB", (least, least))
            return ImageOps.exif_transpose(file).convert("RGB"), lost
    # The bytes are whoever's, and decoders raise whatever comes: struct.error, KeyError, ImportError, …
    except Exception as error:
        raise DataError(
            f"{path} is not a readable image ({error}); restore or remove it, then version the data again"
        ) from None


def cut(image: Image.Image, box: Box, size: int) -> NDArray[np.uint8]:
    """A part of an image, scaled to a square, (size, size, 3), RGB."""
    return np.array(image.resize((size, size), Image.Resampling.BILINEAR, box=box))


def centre(image: Image.Image) -> Box:
    """The largest square in the middle of an image."""
    side = min(image.size)
    left, top = (image.width - side) / 2, (image.height - side) / 2
    return left, top, left + side, top + side


def square(path: Path, size: int) -> NDArray[np.uint8]:
    """The largest centred square of an image file, scaled, (size, size, 3), RGB; DataError if it is not an image."""
    image = read(path)
    return cut(image, centre(image), size)


def preprocess(path: Path, size: int) -> NDArray[np.float32]:
    """A classifier's input from one image file, (1, 3, size, size), RGB, 0 to 1; DataError if it is not an image."""
    return network_input(square(path, size))


def network_input(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """One image, (size, size, 3), 0 to 255, as (1, 3, size, size), 0 to 1."""
    return planes(pixels)[None]


def planes(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(height, width, 3), 0 to 255, as (3, height, width), 0 to 1."""
    return np.ascontiguousarray(pixels.transpose(2, 0, 1), dtype=np.float32) / np.float32(255)


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
