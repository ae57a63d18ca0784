from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from alambique.drift.image_statistics import NAMES, SIDE, read, statistics


def measured(path: Path) -> dict[str, float]:
    table, readable = statistics([path])
    assert readable.tolist() == [True]
    return dict(zip(NAMES, table[0].tolist(), strict=True))


def test_a_plain_image_has_the_figures_of_its_colour(tmp_path: Path) -> None:
    Image.new("RGB", (40, 20), (255, 51, 0)).save(tmp_path / "a.png")
    found = measured(tmp_path / "a.png")
    assert found["red"] == 1 and found["green"] == pytest.approx(0.2) and found["blue"] == 0
    assert found["contrast"] == found["sharpness"] == 0
    assert found["saturation"] == 1
    assert found["aspect"] == 2
    assert found["brightness"] == pytest.approx((0.299 * 255 + 0.587 * 51) / 255, abs=0.003)


def test_blur_lowers_sharpness_and_darkness_brightness(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    for name, changed in (("plain", pixels), ("blur", cv2.GaussianBlur(pixels, (0, 0), 1.0)), ("dark", pixels // 2)):
        cv2.imwrite(str(tmp_path / f"{name}.png"), changed)
    plain, blur, dark = (measured(tmp_path / f"{name}.png") for name in ("plain", "blur", "dark"))
    assert blur["sharpness"] < plain["sharpness"] / 5
    assert blur["brightness"] == pytest.approx(plain["brightness"], abs=0.01)
    assert dark["brightness"] == pytest.approx(plain["brightness"] / 2, abs=0.01)


def test_an_image_is_measured_at_one_scale_whatever_the_camera(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "one.png"), pixels)
    cv2.imwrite(str(tmp_path / "two.png"), cv2.resize(pixels, None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST))
    assert measured(tmp_path / "one.png") == pytest.approx(measured(tmp_path / "two.png"))


@pytest.mark.parametrize("content", [b"", b"no image", b"\x89PNG\r\n\x1a\n" + bytes(50)])
def test_unreadable_images_are_marked(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(content)
    assert read(tmp_path / "a.png") is None
    table, readable = statistics([tmp_path / "a.png"])
    assert table.shape == (1, len(NAMES)) and np.isnan(table).all()
    assert not readable.any()


def test_no_image_has_an_empty_table() -> None:
    table, readable = statistics([])
    assert table.shape == (0, len(NAMES)) and readable.shape == (0,)
