from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks import classify, classify_cost
from benchmarks.classify import KEEP, rows, split

from alambique.demo.digits import Digits
from alambique.errors import DataError


def test_ratios_are_taken_within_a_round() -> None:
    slow = {"plain": 2.0, "cached": 2.2, "online": 6.6, "teacher": 4.0}
    fast = {name: value / 3 for name, value in slow.items()}
    found = {row.id: row for row in rows([slow, fast, slow])}
    assert found["cached_over_plain"].value == pytest.approx(1.1)
    assert found["online_over_cached"].value == pytest.approx(3.0)
    assert found["online_over_cached"].met
    assert found["share_of_ceiling"].value == pytest.approx(1.0)


def test_the_online_teacher_is_about_five_times_the_student() -> None:
    assert classify_cost.macs_ratio() == pytest.approx(5, rel=0.05)


def test_one_in_five_images_of_each_class_keeps_its_label(tmp_path: Path) -> None:
    Digits(train=100, val=10, test=10, size=16).write(tmp_path / "source")
    split(tmp_path / "source", tmp_path / "few", KEEP)
    split(tmp_path / "source", tmp_path / "all", 1)
    assert [len(list(folder.iterdir())) for folder in (tmp_path / "few/train").iterdir()] == [2] * 10
    assert len(list((tmp_path / "few/unlabelled").iterdir())) == 80
    assert len(list((tmp_path / "all/train").rglob("*.png"))) == 100
    assert not (tmp_path / "all/unlabelled").exists()
    for part in ("val", "test"):
        assert len(list((tmp_path / "few" / part).rglob("*.png"))) == 10


def test_a_full_run_needs_real_images(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="give --data PATH"):
        classify.given(None, None, tmp_path, quick=False)
