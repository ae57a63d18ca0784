"""Intervals from any task's resampling; each task's own is tested beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from alambique.evaluation import paired_bootstrap
from alambique.evaluation.measures import Resampled

FOLDERS = [Path(name) for name in "abcd"]
VALUES = np.random.default_rng(0).uniform(size=(4, 1 + paired_bootstrap.RESAMPLES))


@pytest.fixture
def asked() -> list[Path]:
    return []


@pytest.fixture
def resample(asked: list[Path]) -> paired_bootstrap.Resample:
    def made_up(folders: Sequence[Path]) -> Resampled:
        asked.extend(folders)
        return Resampled(VALUES[[FOLDERS.index(folder) for folder in folders]], 64)

    return made_up


def test_what_is_resampled_once_gives_every_interval(resample: paired_bootstrap.Resample, asked: list[Path]) -> None:
    first, second = FOLDERS[:2], FOLDERS[2:]
    expected = paired_bootstrap.gain(resample, first, second)
    asked.clear()
    once = paired_bootstrap.once(resample, FOLDERS[::-1])
    assert paired_bootstrap.gain(once, first, second) == expected
    assert paired_bootstrap.headline(once, *first).value == pytest.approx(VALUES[:2, 0].mean())
    assert asked == FOLDERS[::-1]


def test_a_network_trained_once_is_compared_with_those_of_every_seed(resample: paired_bootstrap.Resample) -> None:
    teacher, controls = FOLDERS[0], FOLDERS[1:]
    gain = paired_bootstrap.gain(resample, [teacher], controls)
    assert gain == paired_bootstrap.gain(resample, [teacher] * 3, controls)
    assert (gain.seeds, gain.images) == (3, 64)
    assert gain.value == pytest.approx(VALUES[0, 0] - VALUES[1:, 0].mean())
