from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from alambique.data import expectations, manifest
from alambique.data.contract import suites
from alambique.data.dataset import Dataset
from alambique.data.expectations import failures, judge


def verdict(dataset: Path, min_boxes_per_class: int = 0) -> list[str]:
    data = Dataset.load(dataset)
    return failures(judge(manifest.build(data).tables, suites(len(data.classes), min_boxes_per_class)))


def _append(row: str) -> Callable[[Path], None]:
    def append(dataset: Path) -> None:
        with (dataset / "labels/train/00003.txt").open("a") as file:
            file.write(f"{row}\n")

    return append


def _truncate(dataset: Path) -> None:
    image = dataset / "images/train/00003.png"
    image.write_bytes(image.read_bytes()[:-200])


def _share(dataset: Path) -> None:
    shutil.copy(dataset / "images/train/00003.png", dataset / "images/test/copy.png")


def _shrink(dataset: Path) -> None:
    Image.new("RGB", (64, 9)).save(dataset / "images/train/00003.png")


BROKEN = {
    "an image that cannot be decoded": (_truncate, "decoded", "images/train/00003.png (readable: False)"),
    "an image that training would drop": (_shrink, "height", "images/train/00003.png (height: 9)"),
    "an image in two splits": (_share, "two splits", "images/test/copy.png (found_in: train, test)"),
    "four numbers": (_append("0 0.5 0.5 0.1"), "label row", "labels/train/00003.txt:"),
    "a polygon": (_append("0 0.5 0.5 0.1 0.1 0.2 0.2"), "label row", "labels/train/00003.txt:"),
    "an unknown class": (_append("10 0.5 0.5 0.1 0.1"), "class", "images/train/00003.png (class: 10)"),
    "a negative class": (_append("-1 0.5 0.5 0.1 0.1"), "class", "images/train/00003.png (class: -1)"),
    "a box outside": (_append("1 0.9 0.5 0.4 0.1"), "inside", "images/train/00003.png (inside: False)"),
    "a box without width": (_append("1 0.5 0.5 0.0 0.1"), "positive", "images/train/00003.png (area: 0.0)"),
    "a box of two negative sides": (_append("1 0.5 0.5 -0.1 -0.1"), "positive", "images/train/00003.png (area: 0.0)"),
    "an empty split": (lambda dataset: shutil.rmtree(dataset / "images/test"), "test each hold", "missing test"),
}


def test_a_sound_dataset_passes(scenes: Path) -> None:
    assert verdict(scenes) == []


@pytest.mark.parametrize("kind", BROKEN)
def test_the_verdict_names_what_is_broken_and_nothing_else(dataset: Path, kind: str) -> None:
    damage, expectation, offender = BROKEN[kind]
    damage(dataset)
    (failure,) = verdict(dataset)
    expected, _, offenders = failure.partition(": ")
    assert expectation in expected
    assert offender in offenders


def test_a_box_may_overshoot_the_border_by_a_pixel(dataset: Path) -> None:
    _append(f"1 {1 / 128} 0.5 {2 / 64} 0.1")(dataset)
    assert verdict(dataset) == []


def test_a_class_that_a_split_lacks_is_named(dataset: Path) -> None:
    for label in (dataset / "labels/val").iterdir():
        label.write_text("".join(row for row in label.read_text().splitlines(True) if not row.startswith("3 ")))
    (failure,) = verdict(dataset, min_boxes_per_class=1)
    assert "val/three (boxes: 0)" in failure


def test_an_image_twice_in_one_split_is_no_leak(dataset: Path) -> None:
    shutil.copy(dataset / "images/train/00003.png", dataset / "images/train/copy.png")
    assert verdict(dataset) == []


def test_a_failure_names_twenty_offenders_and_counts_the_rest(dataset: Path) -> None:
    for image in (dataset / "images/train").iterdir():
        image.write_bytes(b"")
    unreadable = next(failure for failure in verdict(dataset) if "decoded" in failure)
    assert unreadable.count("(readable: False)") == expectations.NAMED
    assert unreadable.endswith(" and 4 more")


def test_a_dataset_without_any_readable_box_is_judged(dataset: Path) -> None:
    for label in dataset.glob("labels/*/*.txt"):
        label.write_text("nonsense")
    (failure,) = verdict(dataset)
    assert failure.startswith("every label row")
