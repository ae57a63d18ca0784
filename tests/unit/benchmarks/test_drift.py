from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from benchmarks import common, drift
from factories.drift_features import network_features, table

from alambique.data.dataset import Dataset


def test_a_row_is_the_share_of_batches_with_any_signal() -> None:
    row = drift._row("detection_blur", [["sharpness"], [], ["sharpness", "contrast"], ["contrast"]], "≥ 0.95")
    assert (row.value, row.n, row.met) == (0.75, 4, False)
    assert row.low < 0.75 < row.high
    assert row.details == {"signals": {"contrast": 0.5, "sharpness": 0.5}}


def test_no_image_is_in_the_reference_and_in_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    chance = np.random.default_rng(0)
    features = network_features(90, chance)
    numbered = features._replace(embeddings=np.repeat(np.arange(90.0)[:, None], 3, axis=1))
    pool = drift.Pool(table(90, chance), numbered)
    compared = []
    monkeypatch.setattr(drift.comparisons, "compare", lambda *given, **_: compared.append(given[:2]) or [])
    drift._trial(table(50, chance), pool, pool, np.ones(90), 30, common.params(), [0, 1, 2])
    ((reference, batch),) = compared
    first, second = (
        set(features.embeddings[:, 0]) for features in (reference.network_features, batch.network_features)
    )
    assert (len(first), len(second)) == (30, 30)
    assert not first & second


def test_corruptions_do_what_they_are_called(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 200, (32, 32, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "a.png"), pixels)
    blurred, dark, colour = (
        cv2.imread(str(drift._corrupted(tmp_path / "a.png", tmp_path / name, drift.CORRUPTIONS[name])))
        for name in ("blur", "dark", "colour")
    )
    assert blurred.std() < 0.7 * pixels.std()
    assert dark.mean() == pytest.approx(0.8 * pixels.mean(), rel=0.01)
    assert colour[..., 2].mean() > pixels[..., 2].mean() and colour[..., 0].mean() < pixels[..., 0].mean()


def test_images_of_the_second_half_of_the_classes_weigh_more(scenes: Path) -> None:
    dataset = Dataset.load(scenes)
    images = dataset.images("train")
    shares = drift._second_half(dataset, images)
    for image, share in zip(images, shares, strict=True):
        classes = dataset.boxes(image)[:, 0]
        assert share == pytest.approx((classes >= 5).mean(), abs=2e-3)
