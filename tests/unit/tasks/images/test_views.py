from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alambique.config.classify import Augment, Mix
from alambique.errors import DataError
from alambique.tasks.images.dataset import Dataset
from alambique.tasks.images.views import Views

MIXES: tuple[Mix, ...] = ("none", "mixup", "cutmix")


def views(digits: Dataset, augment: Augment) -> Views:
    images = digits.images("train")
    return Views(images, [digits.inside(image) for image in images], 32, augment)


@pytest.mark.parametrize("mix", MIXES)
def test_a_view_is_the_same_to_the_last_pixel_whenever_it_is_asked_for(digits: Dataset, mix: Mix) -> None:
    first, second = (views(digits, Augment(mix=mix)) for _ in range(2))
    for index, number in ((3, 1), (0, 0), (3, 0)):
        one, other = first.view(index, number), second.view(index, number)
        assert one.checksum == other.checksum
        assert one[1:] == other[1:]


@pytest.mark.parametrize("mix", MIXES)
def test_views_of_an_image_differ(digits: Dataset, mix: Mix) -> None:
    drawn = views(digits, Augment(mix=mix))
    assert len({drawn.view(2, number).checksum for number in range(6)}) == 6


def test_a_view_hangs_on_the_name_and_not_on_the_folder(digits: Dataset, tmp_path: Path) -> None:
    image = digits.images("train")[0]
    copy = Path(shutil.copy(image, tmp_path / "elsewhere.png"))
    ones = [Views([path], ["train/one/x.png"], 32, Augment()).view(0, 5).checksum for path in (image, copy)]
    assert ones[0] == ones[1]
    assert Views([image], ["train/one/y.png"], 32, Augment()).view(0, 5).checksum != ones[0]


def test_without_cropping_and_mirroring_a_square_image_is_shown_whole(tmp_path: Path) -> None:
    pixels = np.arange(32 * 32 * 3, dtype=np.uint8).reshape(32, 32, 3)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    view = Views([tmp_path / "x.png"], ["x"], 32, Augment(crop=1.0, flip=0.0)).view(0, 0)
    assert (view.pixels == pixels).all()
    assert (view.other, view.share) == (0, 1.0)
    mirrored = Views([tmp_path / "x.png"], ["x"], 32, Augment(crop=1.0, flip=1.0)).view(0, 0)
    assert (mirrored.pixels == pixels[:, ::-1]).all()


def test_cutmix_says_how_much_of_each_image_there_is(tmp_path: Path) -> None:
    for name, grey in (("black", 0), ("white", 255)):
        Image.new("RGB", (64, 64), (grey,) * 3).save(tmp_path / f"{name}.png")
    images = [tmp_path / "black.png", tmp_path / "white.png"]
    drawn = Views(images, ["black", "white"], 32, Augment(mix="cutmix"))
    mixed_views = [drawn.view(0, number) for number in range(12)]
    assert any(view.other == 1 for view in mixed_views)
    for view in mixed_views:
        assert (view.pixels == 0).all(axis=2).mean() == pytest.approx(view.share if view.other == 1 else 1.0)


def test_mixup_adds_both_images_in_their_shares(tmp_path: Path) -> None:
    for name, grey in (("black", 0), ("white", 255)):
        Image.new("RGB", (64, 64), (grey,) * 3).save(tmp_path / f"{name}.png")
    drawn = Views([tmp_path / "black.png", tmp_path / "white.png"], ["black", "white"], 32, Augment(mix="mixup"))
    mixed = [view for number in range(12) if (view := drawn.view(0, number)).other == 1]
    assert mixed
    for view in mixed:
        assert view.pixels.mean() / 255 == pytest.approx(1 - view.share, abs=0.01)


def test_what_is_no_image_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"x\.png is not a readable image"):
        Views([tmp_path / "x.png"], ["x"], 32, Augment()).view(0, 0)
