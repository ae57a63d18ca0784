"""Statistics of an image's pixels, which change with the camera, its light and its lens.

To add one, add its name to `NAMES` and its value to `_statistics`, and increment `features.VERSION`.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

NAMES = ("brightness", "contrast", "red", "green", "blue", "saturation", "sharpness", "aspect")
"""Mean grey, its standard deviation, mean of each channel and mean saturation, all in shares of the full scale;
variance of the grey values' Laplacian; width / height."""

SIDE = 512
"""Larger images are first scaled down to that, so that sharpness does not depend on the camera's resolution."""


def statistics(images: Iterable[Path]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The statistics of images, (n, len(NAMES)), and which images OpenCV can read, (n,); the others' rows are NaN."""
    rows = [_statistics(pixels) if (pixels := read(path)) is not None else [np.nan] * len(NAMES) for path in images]
    table = np.array(rows, np.float64).reshape(-1, len(NAMES))
    return table, np.asarray(np.isfinite(table).all(axis=1))


def read(path: Path) -> NDArray[np.uint8] | None:
    """Pixels of an image, upright, (height, width, 3), BGR; None if it cannot be read."""
    try:
        pixels: NDArray[np.uint8] | None = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:  # an empty file, or more pixels than OpenCV allows
        return None
    return pixels


def _statistics(pixels: NDArray[np.uint8]) -> list[float]:
    """Contrast as the root mean square (Peli 1990, Contrast in complex images, JOSA A 7(10)); sharpness as in
    Pech-Pacheco et al. 2000, Diatom autofocusing in brightfield microscopy (ICPR), the measure LAPV."""
    height, width = pixels.shape[:2]
    if (scale := SIDE / max(height, width)) < 1:
        size = max(round(width * scale), 1), max(round(height * scale), 1)
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    grey = cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY)
    blue, green, red = pixels.reshape(-1, 3).mean(axis=0) / 255
    saturation = cv2.cvtColor(pixels, cv2.COLOR_BGR2HSV)[..., 1].mean() / 255
    sharpness = cv2.Laplacian(grey, cv2.CV_64F).var()
    return [grey.mean() / 255, grey.std() / 255, red, green, blue, saturation, sharpness, width / height]
