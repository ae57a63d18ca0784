"""The text demo: tiny stories."""

from __future__ import annotations

from pathlib import Path

from alambique.demo.stories import Stories

STORIES = Stories()

SETTING = (
    f"Tiny stories told by a grammar: {STORIES.train + STORIES.unlabelled:,} to learn from, {STORIES.test} to be "
    "measured on. The teacher is a small Llama trained on them. The student has a quarter of its parameters and learns "
    "from the stories and from what else the teacher expects at each of their words; its control sees the stories "
    "alone, from the same start and for as many steps: once over all of them.\n"
)


def write(target: Path) -> None:
    """Make the dataset, as people have theirs."""
    STORIES.write(target)
