"""From an image to a detector's input, and from its boxes back to the image: one definition for every runtime.

The letterbox is that of Ultralytics' square prediction (`LetterBox(auto=False, scaleup=True, center=True)`), so that a
network is calibrated and measured on what it will be given.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from alambique.errors import DataError

PADDING = 114
"""Grey value of the border, 0 to 255."""

DESCRIPTION = {
    "color": "RGB",
    "range": [0.0, 1.0],
    "resize": "letterbox: keep the aspect ratio, bilinear, centred",
    "padding": PADDING,
    "layout": "NCHW",
}
"""For a candidate's card: what whoever deploys it has to do."""


Resize = Literal["letterbox", "stretch"]
"""How an image comes into a square input: with a border, or stretched, as some teachers from elsewhere want it."""


class Letterbox(NamedTuple):
    """Where an image lies in its input.

    Attributes:
        width, height: of the image, pixels.
        scale: input pixels per image pixel.
        left, top: border before the image, input pixels.
        stretch: the vertical scale over `scale`, which is the horizontal one.
    """

    width: int
    height: int
    scale: float
    left: int
    top: int
    stretch: float = 1.0

    @property
    def scales(self) -> NDArray[np.float64]:
        """Input pixels per image pixel, horizontal and vertical."""
        return np.array([self.scale, self.scale * self.stretch])


def preprocess(
    image: Path | NDArray[np.uint8], image_size: int, resize: Resize = "letterbox"
) -> tuple[NDArray[np.float32], Letterbox]:
    """Make a detector's input of one image.

    Args:
        image: a file (its EXIF orientation is applied), or pixels, (height, width, 3), BGR as OpenCV reads them.
        image_size: side of the square input, pixels.
    Returns:
        the input, (1, 3, image_size, image_size), RGB, 0 to 1; and where the image lies in it.
    Raises:
        DataError: the file is not an image.
    """
    pixels = read(image) if isinstance(image, Path) else image
    canvas, letterbox = (place if resize == "letterbox" else stretch)(pixels, image_size)
    planes = canvas[..., ::-1].transpose(2, 0, 1)[None]
    return np.ascontiguousarray(planes, dtype=np.float32) / np.float32(255), letterbox


def read(path: Path) -> NDArray[np.uint8]:
    """Pixels of an image file, (height, width, 3), BGR; a DataError if it is missing or not an image."""
    content = np.fromfile(path, np.uint8) if path.is_file() else np.empty(0, np.uint8)
    pixels: NDArray[np.uint8] | None = cv2.imdecode(content, cv2.IMREAD_COLOR) if content.size else None
    if pixels is None:
        raise DataError(f"{path} is not a readable image; restore or remove it, then version the data again")
    return pixels


def place(pixels: NDArray[np.uint8], image_size: int) -> tuple[NDArray[np.uint8], Letterbox]:
    """Scale an image to fit a square canvas and centre it there.

    Args:
        pixels: (height, width, 3).
        image_size: side of the canvas, pixels.
    Returns:
        the canvas, (image_size, image_size, 3); and where the image lies in it.
    """
    height, width = pixels.shape[:2]
    scale = min(image_size / height, image_size / width)
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    if size != (width, height):
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_LINEAR)
    # An odd border is one pixel larger at the right and at the bottom.
    left, top = (image_size - size[0]) // 2, (image_size - size[1]) // 2
    canvas = np.full((image_size, image_size, 3), PADDING, np.uint8)
    canvas[top : top + size[1], left : left + size[0]] = pixels
    return canvas, Letterbox(width, height, scale, left, top)


def stretch(pixels: NDArray[np.uint8], image_size: int) -> tuple[NDArray[np.uint8], Letterbox]:
    """Scale an image to all of a square canvas, whatever its aspect ratio; see `place`."""
    height, width = pixels.shape[:2]
    canvas = cv2.resize(pixels, (image_size, image_size), interpolation=cv2.INTER_LINEAR)
    letterbox = Letterbox(width, height, image_size / width, 0, 0, width / height)
    return np.asarray(canvas, np.uint8), letterbox


def restore(boxes: NDArray[np.float32], letterbox: Letterbox) -> NDArray[np.float32]:
    """Map boxes from the input back to the image.

    Args:
        boxes: x1, y1, x2, y2 in input pixels, (n, 4).
        letterbox: as returned by `preprocess`.
    Returns:
        x1, y1, x2, y2 as shares of the image's width and height, cut at its borders, (n, 4).
    """
    return to_shares(boxes.reshape(-1, 2, 2), letterbox).reshape(-1, 4)


def to_shares(points: NDArray[np.float32], letterbox: Letterbox) -> NDArray[np.float32]:
    """Points in input pixels as shares of the image, cut at its borders; a third number stays, (n, p, d)."""
    border = np.array([letterbox.left, letterbox.top], np.float32)
    size = np.array([letterbox.width, letterbox.height], np.float32)
    shares = np.clip((points[..., :2] - border) / letterbox.scales.astype(np.float32) / size, 0, 1)
    return np.concatenate((shares, points[..., 2:]), -1).astype(np.float32)
