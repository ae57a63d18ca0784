from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from alambique.data.near_duplicates import Fingerprints, Pair, fingerprints, image_pairs, nearest, text_pairs


def photograph(seed: int) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 255, (12, 16, 3), np.uint8)
    return Image.fromarray(coarse).resize((320, 240), Image.Resampling.BICUBIC)


def test_another_jpeg_of_a_shot_is_found_in_another_split_and_not_in_its_own(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.jpg" for number in range(6)]
    for path, seed in zip(paths, (0, 1, 2, 0, 1, 3), strict=True):
        photograph(seed).save(path)
    photograph(0).resize((288, 216)).save(paths[3], quality=60)
    splits = ["train", "train", "train", "val", "test", "test"]
    assert image_pairs(fingerprints(paths), splits) == [Pair(4, 1), Pair(3, 0)]
    assert image_pairs(fingerprints(paths), ["train"] * 6) == []
    assert image_pairs(fingerprints([]), []) == []


def test_of_test_and_val_each_pair_is_found_once(tmp_path: Path) -> None:
    for name in ("a", "b"):
        photograph(0).save(tmp_path / f"{name}.png")
    prints = fingerprints([tmp_path / "a.png", tmp_path / "b.png"])
    assert image_pairs(prints, ["val", "test"]) == [Pair(1, 0)]


def test_images_without_contrast_resemble_nothing(tmp_path: Path) -> None:
    for name, value in (("a", 0), ("b", 255)):
        Image.new("RGB", (64, 64), (value,) * 3).save(tmp_path / f"{name}.png")
    assert image_pairs(fingerprints([tmp_path / "a.png", tmp_path / "b.png"]), ["train", "test"]) == []


def with_bits(*ranges: range) -> Fingerprints:
    bits = np.zeros(256, np.uint8)
    for of_range in ranges:
        bits[of_range] = 1
    return np.packbits(bits).view(np.uint64)


def test_drawings_that_share_little_but_white_resemble_nothing() -> None:
    drawing = with_bits(range(24))
    assert nearest(drawing, with_bits(range(14), range(100, 104))[None]) is None
    assert nearest(drawing, with_bits(range(20), range(100, 104))[None]) == 0


def test_texts_are_alike_but_for_punctuation_and_case() -> None:
    texts = ["Is it far?", "Two miles.", "...", "is it far", "Two  miles!", "…"]
    splits = ["train", "train", "train", "val", "test", "test"]
    assert text_pairs(texts, splits) == [Pair(4, 1), Pair(3, 0)]
