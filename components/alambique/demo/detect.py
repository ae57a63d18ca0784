"""The detection demo: digits in scenes."""

from __future__ import annotations

from pathlib import Path

from alambique.demo.scenes import Scenes

SCENES = Scenes(train=160, val=40, test=200, unlabelled=640)

SETTING = (
    f"Handwritten digits in scenes of {SCENES.size} px, {SCENES.train} labelled and {SCENES.unlabelled} unlabelled. "
    "The teacher is a YOLO26n trained on the labelled scenes. The student has a quarter of its parameters and learns "
    "from the labels and, where there are none, from the teacher's soft labels; its control sees the labels alone, "
    "from the same start and for as many steps.\n"
)


def write(target: Path) -> None:
    """Make the dataset, as people have theirs."""
    SCENES.write(target)
