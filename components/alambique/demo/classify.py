"""The classification demo: single digits."""

from __future__ import annotations

from pathlib import Path

from alambique.demo.digits import Digits

DIGITS = Digits(train=100, val=100, test=500, unlabelled=700)

SETTING = (
    f"Handwritten digits, {DIGITS.size} px, {DIGITS.train} labelled and {DIGITS.unlabelled} unlabelled. The teacher is "
    "a ResNet-18 trained on the labelled ones. The student, a YOLO26 classifier with a fiftieth of its parameters, "
    "learns from the labels and from what the teacher sees in eight views of every picture; its control sees the "
    "labels alone, from the same start and for as many steps.\n"
)


def write(target: Path) -> None:
    """Make the dataset, as people have theirs."""
    DIGITS.write(target)
