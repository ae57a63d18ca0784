"""Test samples as the report shows them: what people say of each, and what the networks make of it."""

from __future__ import annotations

import base64
import colorsys
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from markupsafe import Markup
from PIL import Image, ImageOps

WIDTH = 480


class Picture(NamedTuple):
    """One sample of the report.

    Attributes:
        name: of the sample: an image's path inside data/images.
        agreement: how far the teacher's answer and the best candidate's are one, 0..1.
        panels: title and what is shown below it: an image, a text, bars.
        key: names of the colours that the panels use, if they tell something apart, as CSS.
    """

    name: str
    agreement: float
    panels: list[tuple[str, Markup]]
    key: Sequence[tuple[str, str]] = ()


def pick(agreements: Mapping[str, float], disputed: int = 3, typical: int = 2) -> list[str]:
    """The names of least agreement, then those nearest the median of the rest; ties go by name."""
    order = sorted(agreements, key=lambda name: (agreements[name], name))
    rest = order[disputed:]
    middle = max((len(rest) - typical) // 2, 0)
    return [*order[:disputed], *rest[middle : middle + typical]]


def load(path: Path) -> Image.Image:
    """An image, upright, as wide as pictures are."""
    with Image.open(path) as file:
        image = ImageOps.exif_transpose(file).convert("RGB")
    return image.resize((WIDTH, max(round(image.height * WIDTH / image.width), 1)), Image.Resampling.BICUBIC)


def color(index: int) -> str:
    """A class's colour: hues a golden angle apart; a hue that comes near an earlier one is paler or fuller than it."""
    saturation = 0.8 if index // 8 % 2 == 0 else 0.4
    red, green, blue = colorsys.hsv_to_rgb((0.03 + index * 0.381966) % 1, saturation, 0.95)
    return f"#{round(red * 255):02x}{round(green * 255):02x}{round(blue * 255):02x}"


def data_uri(image: Image.Image) -> str:
    """The image as a JPEG inside an address."""
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=82)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}"


def shown(image: Image.Image, words: str) -> Markup:
    """The image as an element of a page.

    Args:
        words: what stands in its place where images are not shown.
    """
    return Markup('<img src="{}" alt="{}">').format(data_uri(image), words)
