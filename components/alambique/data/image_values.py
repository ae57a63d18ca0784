"""Which values of an image file its readers would lose: Pillow and OpenCV keep 8 bits a channel, and the first page."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

BITS_PER_SAMPLE = 258
"""A TIFF's tag."""
ORIENTATION = 274
TURNED = 5
"""From this orientation on, width and height change places."""


def lost_values(image: Image.Image) -> str | None:
    """What would be lost of an opened image that is not decoded yet, in words; None where nothing is.

    16-bit colour images are read by the high byte of each value, without a word.
    """
    bits = _bits(image)
    if bits > 8:
        return f"{bits} bits a channel, mode {image.mode}"
    # A phone's .jpg is often an MPO: the photograph, then a preview or depths.
    pages = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
    return f"{pages} pages or frames" if pages > 1 else None


def upright_size(path: Path) -> tuple[int, int] | None:
    """Width and height as readers turn an image by its EXIF orientation; None if it cannot be read."""
    try:
        with Image.open(path) as image:
            width, height = image.size
            return (height, width) if image.getexif().get(ORIENTATION, 1) >= TURNED else (width, height)
    except Exception:  # decoders raise whatever comes
        return None


def has_one_value(image: Image.Image) -> bool:
    """Whether all pixels of a decoded image are equal, as those of a sensor that failed, or of a broken conversion."""
    colours = image.getcolors(1)
    return colours is not None and len(colours) == 1


def _bits(image: Image.Image) -> int:
    if image.format == "TIFF":
        bits = image.tag_v2.get(BITS_PER_SAMPLE)  # type: ignore[attr-defined]
        return max((number for number in bits if isinstance(number, int)), default=8) if bits else 1
    if image.mode in {"F", "I"}:
        return 32 if image.format != "PNG" else 16
    # Of a PNG, Pillow's mode for 16-bit colour is RGB; the decoder's arguments tell.
    deep = image.mode.startswith("I;16") or any(";16" in str(tile[3]) for tile in getattr(image, "tile", ()))
    return 16 if deep else 8
