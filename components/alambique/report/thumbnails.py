"""Samples of a dataset as its page shows them: small images with what people labelled on them, and texts."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image, ImageOps

from alambique.report.pictures import color, data_uri

LONGEST = 400
"""Characters of a text that are shown."""
MOST_MARKS = 150
"""Objects that are drawn on an image; fewer on a small one."""
SURROUNDINGS = 6
"""A close-up is as many times wider than what it shows."""
NARROWEST = 48
"""Pixels of an image that a close-up is wide, at least."""

Box = tuple[float, float, float, float]
"""Left, top, right, bottom, as shares of the image."""


class Mark(NamedTuple):
    """A labelled object.

    Attributes:
        class_index: gives the colour.
        name: of its class.
        outline: corners of the box, or points of the outline, as shares of the image, (p, 2).
        keypoints: those that are labelled, as shares of the image, (k, 2).
    """

    class_index: int
    name: str
    outline: NDArray[np.floating]
    keypoints: NDArray[np.floating]


class LabelledSample(NamedTuple):
    """A sample and its labels: an image file with marks, or a text."""

    image: Path | None = None
    text: str = ""
    marks: Sequence[Mark] = ()


def box_outline(box: Sequence[float] | NDArray[np.floating]) -> NDArray[np.float64]:
    """The corners of a box of left, top, right, bottom, (4, 2)."""
    x1, y1, x2, y2 = map(float, box)
    return np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]])


def show(sample: LabelledSample, side: int, focus: Box | None = None, index: int | None = None) -> Markup:
    """A sample as an element of the page.

    Args:
        side: longest side of an image, pixels.
        focus: the box to show close up, and all others faint; None: the whole image.
        index: of the class whose objects are shown, and all others faint; None: all alike.
    """
    if sample.image is None:
        more = "…" if len(sample.text) > LONGEST else ""
        return Markup('<p class="text">{}{}</p>').format(sample.text[:LONGEST], more)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            picture, window = _picture(sample.image, side, focus)
    except Exception:  # the bytes are whoever's, and decoders raise whatever comes
        return Markup('<p class="text">(cannot be decoded)</p>')
    marks = Markup().join(
        _mark(mark, window, picture.size, side // 8, faint=not _meant(mark, focus, index))
        for mark in _in_sight(sample.marks, window)[: min(MOST_MARKS, 2 * side)]
    )
    pixels = Markup(' class="pixels"') if focus else ""
    # The inner <svg> cuts off what lies outside the picture.
    return Markup(
        '<svg viewBox="0 0 {0} {1}"{2}><svg width="{0}" height="{1}"><image href="{3}" width="{0}" height="{1}"/>'
        "<g>{4}</g></svg></svg>"
    ).format(*picture.size, pixels, data_uri(picture), marks)


def _picture(path: Path, side: int, focus: Box | None) -> tuple[Image.Image, Box]:
    """The image upright and no larger than `side`, or the part of it around `focus`; and which part that is."""
    with Image.open(path) as file:
        if focus is None:
            file.draft("RGB", (2 * side, 2 * side))  # a JPEG is decoded no finer than needed
        image = ImageOps.exif_transpose(file).convert("RGB")
    window: Box = (0, 0, 1, 1)
    if focus is not None:
        width, height = image.size
        left, top, right, bottom = _window(focus, width, height)
        image = image.crop((left, top, right, bottom))
        window = (left / width, top / height, right / width, bottom / height)
    if max(image.size) > side:
        image = ImageOps.contain(image, (side, side))
    return image, window


def _window(focus: Box, width: int, height: int) -> tuple[int, int, int, int]:
    """The pixels of a square around `focus` and inside the image, which may be too small for all of it."""
    scaled = np.array(focus) * [width, height, width, height]
    side = max(round(SURROUNDINGS * float((scaled[2:] - scaled[:2]).max())), NARROWEST)
    wide, high = min(side, width), min(side, height)
    x, y = (scaled[:2] + scaled[2:]) / 2
    left, top = min(max(int(x - wide / 2), 0), width - wide), min(max(int(y - high / 2), 0), height - high)
    return left, top, left + wide, top + high


def _meant(mark: Mark, focus: Box | None, index: int | None) -> bool:
    if focus is not None:
        box = (*mark.outline.min(0), *mark.outline.max(0))
        return np.allclose(box, focus, atol=1e-4)
    return index is None or mark.class_index == index


def _in_sight(marks: Sequence[Mark], window: Box) -> list[Mark]:
    """Those of which `window` shows a part."""
    low, high = np.array(window[:2]), np.array(window[2:])
    return [mark for mark in marks if (mark.outline.max(0) > low).all() and (mark.outline.min(0) < high).all()]


def _mark(mark: Mark, window: Box, size: tuple[int, int], points: int, faint: bool) -> Markup:
    """The outline, and the keypoints, of an object in the pixels of a picture that shows `window` of its image.

    Args:
        points: of an outline that are drawn, about.
    """
    low, extent = np.array(window[:2]), np.array(window[2:]) - window[:2]
    step = -(-len(mark.outline) // points)
    outline = " ".join(f"{x:.1f},{y:.1f}" for x, y in (mark.outline[::step] - low) / extent * size)
    dots = Markup().join(
        Markup('<circle cx="{:.1f}" cy="{:.1f}" r="{:.1f}" fill="{}"/>').format(
            x, y, max(size) / 70, color(mark.class_index)
        )
        for x, y in (mark.keypoints - low) / extent * size
    )
    shape = Markup('<polygon points="{}" stroke="{}"><title>{}</title></polygon>{}').format(
        outline, color(mark.class_index), mark.name, dots
    )
    return Markup('<g class="faint">{}</g>').format(shape) if faint else shape
