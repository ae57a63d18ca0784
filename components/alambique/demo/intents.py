"""What people ask of an assistant, by a grammar: intents whose words overlap, said politely, shortly or with a slip."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import NamedTuple

import yaml

from alambique.demo.stories import write_splits


class Grammar(NamedTuple):
    """What texts are made of: those of each intent, with {slots}, and what may stand in, before, after or for them."""

    slots: dict[str, list[str]]
    intents: dict[str, list[str]]
    beginnings: list[str]
    ends: list[str]
    synonyms: dict[str, str]


GRAMMAR = Grammar(**yaml.safe_load(Path(__file__).with_name("intents_grammar.yaml").read_text()))
SLIPS = 0.25
"""The share of the texts with two letters the wrong way round."""
SAID_OTHERWISE = 0.4
"""How often a word gives way to its synonym."""


@dataclass(frozen=True)
class Intents:
    """How many texts of each split to make; equal seeds make equal ones, and no text stands twice."""

    train: int = 120
    val: int = 120
    test: int = 600
    unlabelled: int = 1200
    seed: int = 0

    def write(self, target: Path) -> None:
        """Make the dataset, as people have theirs: a JSON Lines file a split, one of them without labels."""
        chance, names = Random(self.seed), list(GRAMMAR.intents)  # noqa: S311  nothing is secret about them

        def sample(split: str, index: int) -> dict[str, str]:
            intent = names[index % len(names)]
            text = {"text": sentence(intent, chance)}
            return text if split == "unlabelled" else {**text, "label": intent}

        write_splits(target, self, sample)


def sentence(intent: str, chance: Random) -> str:
    """One text of an intent."""
    text = chance.choice(GRAMMAR.intents[intent])
    for word, synonym in GRAMMAR.synonyms.items():
        if re.search(rf"\b{word}\b", text) and chance.random() < SAID_OTHERWISE:
            text = re.sub(rf"\b{word}\b", synonym, text)
    text = re.sub(r"\{(\w+)\}", lambda slot: chance.choice(GRAMMAR.slots[slot[1]]), text)
    if chance.random() < SLIPS:
        place = chance.randrange(len(text) - 1)
        text = text[:place] + text[place + 1] + text[place] + text[place + 2 :]
    return chance.choice(GRAMMAR.beginnings) + text + chance.choice(GRAMMAR.ends)
