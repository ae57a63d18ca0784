"""The demo of each task: the dataset that is made for it, and what is distilled there."""

from __future__ import annotations

from typing import NamedTuple

from alambique.demo.digits import Digits
from alambique.demo.intents import GRAMMAR, Intents
from alambique.demo.scenes import Scenes
from alambique.demo.stories import Stories


class Demo(NamedTuple):
    """A task's demo: a dataset that `Task.import_dataset` takes, and a description for the person who waits for it."""

    dataset: Digits | Intents | Scenes | Stories
    setting: str


SCENES = Scenes(train=160, val=40, test=200, unlabelled=640)
DIGITS = Digits(train=200, val=100, test=500, unlabelled=800)
STORIES = Stories()
ASKED = Intents()

DEMOS = {
    "detect": Demo(
        SCENES,
        f"Handwritten digits in scenes of {SCENES.size} px, {SCENES.train} labelled and {SCENES.unlabelled} "
        "unlabelled. The teacher is a YOLO26n trained on the labelled scenes. The student has a quarter of its "
        "parameters and learns from the labels and, where there are none, from the teacher's soft labels; its "
        "control sees the labels alone, from the same start and for as many steps.\n",
    ),
    "classify": Demo(
        DIGITS,
        f"Handwritten digits, {DIGITS.size} px, {DIGITS.train} labelled and {DIGITS.unlabelled} unlabelled. The "
        "teacher is a ResNet of ten layers, trained on the labelled ones. The student, a YOLO26n classifier of a "
        "third of its size, learns from the labels and from what the teacher sees in five views of every picture; "
        "its control sees the labels alone, from the same start and for as many steps.\n",
    ),
    "text": Demo(
        STORIES,
        f"Tiny stories from a grammar: {STORIES.train + STORIES.unlabelled:,} to learn from, {STORIES.test} to be "
        "measured on. The teacher is a small Llama trained on them. The student has a quarter of its parameters and "
        "learns from the stories and from what else the teacher expects at each of their words; its control sees the "
        "stories alone, from the same start and for as many steps: once over all of them.\n",
    ),
    "text_classify": Demo(
        ASKED,
        f"Questions to a bank made by a grammar, of {len(GRAMMAR.intents)} intents: {ASKED.train} labelled, "
        f"{ASKED.unlabelled:,} unlabelled. The teacher is a BERT trained on the labelled ones. The student has a "
        "fifth of its parameters and learns from the labels and from what the teacher makes of every question; its "
        "control sees the labels alone, from the same start and for as many steps.\n",
    ),
}
