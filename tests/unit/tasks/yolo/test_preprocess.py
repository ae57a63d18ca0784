from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alambique.errors import DataError
from alambique.process.environment import prepare
from alambique.tasks.yolo.preprocess import place, preprocess, restore

prepare()


@pytest.mark.parametrize(
    ("height", "width"), [(64, 64), (48, 64), (37, 91), (91, 37), (500, 333), (9, 300), (1, 700), (20, 20)]
)
def test_letterbox_equals_that_of_ultralytics(height: int, width: int) -> None:
    from ultralytics.data.augment import LetterBox

    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    expected = LetterBox((64, 64), auto=False, scaleup=True, center=True)(image=pixels)
    assert np.array_equal(place(pixels, 64)[0], expected)


def test_input_is_rgb_planes_between_zero_and_one() -> None:
    blue = np.zeros((10, 20, 3), np.uint8)
    blue[..., 0] = 255
    planes, _ = preprocess(blue, 64)
    assert planes.shape == (1, 3, 64, 64)
    assert planes.dtype == np.float32
    assert planes[0, :, 32, 32].tolist() == [0.0, 0.0, 1.0]
    assert planes[0, :, 0, 0] == pytest.approx([114 / 255] * 3)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (48, 64), (37, 91), (500, 333)])
def test_boxes_come_back_to_where_they_were_in_the_image(height: int, width: int) -> None:
    _, letterbox = preprocess(np.zeros((height, width, 3), np.uint8), 64)
    shares = np.array([[0.1, 0.2, 0.7, 0.9]], np.float32)
    pixels = shares * np.array([width, height] * 2) * letterbox.scale
    pixels += np.array([letterbox.left, letterbox.top] * 2)
    assert restore(pixels.astype(np.float32), letterbox) == pytest.approx(shares, abs=1e-5)


def test_boxes_are_cut_at_the_borders_of_the_image() -> None:
    _, letterbox = preprocess(np.zeros((32, 64, 3), np.uint8), 64)
    assert restore(np.array([[-5, 0, 70, 64]], np.float32), letterbox).tolist() == [[0, 0, 1, 1]]


def test_a_file_is_read_upright(tmp_path: Path) -> None:
    image = Image.fromarray(np.zeros((8, 16, 3), np.uint8))
    exif = image.getexif()
    exif[0x0112] = 6  # to be turned by 90° when shown
    image.save(tmp_path / "turned.jpg", exif=exif)
    _, letterbox = preprocess(tmp_path / "turned.jpg", 64)
    assert (letterbox.width, letterbox.height) == (8, 16)


@pytest.mark.parametrize("content", [b"", b"not an image"])
def test_a_file_that_is_no_image_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "broken.png").write_bytes(content)
    with pytest.raises(DataError, match=r"broken\.png"):
        preprocess(tmp_path / "broken.png", 64)
