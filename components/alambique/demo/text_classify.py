"""The demo of text classification: what people ask of their bank."""

from __future__ import annotations

from pathlib import Path

from alambique.demo.intents import INTENTS, Intents

ASKED = Intents()

SETTING = (
    f"Questions to a bank made by a grammar, of {len(INTENTS)} intents: {ASKED.train} labelled, {ASKED.unlabelled:,} "
    "unlabelled. The teacher is a BERT trained on the labelled ones. The student has a fifth of its parameters and "
    "learns from the labels and from what the teacher makes of every question; its control sees the labels alone, from "
    "the same start and for as many steps.\n"
)


def write(target: Path) -> None:
    """Make the dataset, as people have theirs."""
    ASKED.write(target)
