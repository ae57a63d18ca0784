"""Pictures of the report: test samples with their labels and the networks' predictions."""

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
        agreement: between the teacher's prediction and the best candidate's, 0 to 1.
        panels: title and what is shown below it: an image, a text, bars.
        key: legend of the panels' colours: name and CSS colour; may be empty.
    """

    name: str
    agreement: float
    panels: list[tuple[str, Markup]]
    key: Sequence[tuple[str, str]] = ()


def pick(agreements: Mapping[str, float], disputed: int = 3, typical: int = 2) -> list[str]:
    """The names with the lowest agreement, then those nearest to the median of the others; ties by name."""
    order = sorted(agreements, key=lambda name: (agreements[name], name))
    others = order[disputed:]
    middle = max((len(others) - typical) // 2, 0)
    return [*order[:disputed], *others[middle : middle + typical]]


def load(path: Path) -> Image.Image:
    """An image, upright, as wide as pictures are."""
    with Image.open(path) as file:
        image = ImageOps.exif_transpose(file).convert("RGB")
    return image.resize((WIDTH, max(round(image.height * WIDTH / image.width), 1)), Image.Resampling.BICUBIC)


def color(index: int) -> str:
    """A class's colour: hues a golden angle apart, with alternating saturation every eight classes."""
    saturation = 0.8 if index // 8 % 2 == 0 else 0.4
    red, green, blue = colorsys.hsv_to_rgb((0.03 + index * 0.381966) % 1, saturation, 0.95)
    return f"#{round(red * 255):02x}{round(green * 255):02x}{round(blue * 255):02x}"


def data_uri(image: Image.Image) -> str:
    """The image as a data: URI of a JPEG."""
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=82)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}"


def shown(image: Image.Image, alt: str) -> Markup:
    """The image as an <img> element with the alternative text `alt`."""
    return Markup('<img src="{}" alt="{}">').format(data_uri(image), alt)
