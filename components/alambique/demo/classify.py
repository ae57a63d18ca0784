"""The classification demo: single digits."""

from __future__ import annotations

from pathlib import Path

from alambique.demo.digits import Digits

DIGITS = Digits(train=200, val=100, test=500, unlabelled=800)

SETTING = (
    f"Handwritten digits, {DIGITS.size} px, {DIGITS.train} labelled and {DIGITS.unlabelled} unlabelled. The teacher is "
    "a ResNet of ten layers, trained on the labelled ones. The student, a YOLO26n classifier of a third of its size, "
    "learns from the labels and from what the teacher sees in five views of every picture; its control sees the "
    "labels alone, from the same start and for as many steps.\n"
)


def write(target: Path) -> None:
    """Make the dataset, as people have theirs."""
    DIGITS.write(target)
