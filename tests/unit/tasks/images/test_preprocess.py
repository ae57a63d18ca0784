from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alambique.data.expectations import failures, judge
from alambique.errors import DataError
from alambique.tasks.images.contract import facts
from alambique.tasks.images.dataset import Dataset
from alambique.tasks.images.preprocess import read

RAMP = np.arange(0, 256, 2, dtype=np.uint8).repeat(16).reshape(128, 16)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_images_of_8_bits_keep_their_values(tmp_path: Path, mode: str) -> None:
    Image.fromarray(RAMP).convert(mode).save(tmp_path / "a.png")
    pixels = np.asarray(read(tmp_path / "a.png"))
    assert pixels.shape == (128, 16, 3)
    expected = np.asarray(Image.fromarray(RAMP).convert("1").convert("L")) if mode == "1" else RAMP
    assert np.array_equal(pixels[..., 1], expected)


def test_a_palette_with_alpha_and_inks_are_colours(tmp_path: Path) -> None:
    palette = Image.fromarray(RAMP).convert("P")
    palette.save(tmp_path / "a.png", transparency=bytes(range(256)))
    assert np.array_equal(np.asarray(read(tmp_path / "a.png"))[..., 0], RAMP)
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / "a.tif")
    assert read(tmp_path / "a.tif").getpixel((0, 0)) == (255, 0, 0)


def test_a_photo_taken_sideways_is_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # Orientation: the camera was turned
    Image.fromarray(RAMP).save(tmp_path / "a.jpg", exif=exif)
    assert read(tmp_path / "a.jpg").size == (128, 16)


@pytest.mark.parametrize(
    ("name", "dtype"), [("a.png", np.uint16), ("a.tif", np.uint16), ("a.tif", np.int32), ("a.tif", np.float32)]
)
def test_values_deeper_than_8_bits_are_refused(tmp_path: Path, name: str, dtype: type) -> None:
    folder = tmp_path / "images/train/scan"
    folder.mkdir(parents=True)
    Image.fromarray(RAMP.astype(dtype) * dtype(200)).save(folder / name)
    with pytest.raises(DataError, match=rf"{name} has (16|32) bits a channel.*scale the values that matter"):
        read(folder / name)
    judged = facts(Dataset(tmp_path, ["scan"], {"train": Path("images/train")}), 0)
    (line,) = [line for line in failures(judge(judged.tables, judged.contract)) if "8 bits" in line]
    assert f"images/train/scan/{name} (lost_values: " in line


def test_whatever_a_decoder_raises_is_told_by_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(RAMP).save(tmp_path / "a.png")

    def broken(*_: object) -> None:
        raise KeyError("SamplesPerPixel")

    monkeypatch.setattr("alambique.tasks.images.preprocess.ImageOps.exif_transpose", broken)
    with pytest.raises(DataError, match=r"a\.png is not a readable image \('SamplesPerPixel'\)"):
        read(tmp_path / "a.png")
