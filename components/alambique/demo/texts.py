"""Texts by a grammar: tiny stories, and what people ask of an assistant.

Stories are short and simple, with dependencies that a model has to track to predict them: who appears, what they want,
where they look and what the weather is like come back later, so that a model which remembers does better than one which
knows common words alone. Intents overlap in their words, and are said politely, shortly or with a slip.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import NamedTuple

import yaml

NAMES = (
    *(("Tom", "he"), ("Ann", "she"), ("Ben", "he"), ("Lily", "she"), ("Max", "he"), ("Sue", "she")),
    *(("Tim", "he"), ("Mia", "she"), ("Sam", "he"), ("Zoe", "she"), ("Leo", "he"), ("Eva", "she")),
)
ANIMALS = (
    *(("cat", "purred"), ("dog", "barked"), ("owl", "hooted"), ("hen", "clucked"), ("frog", "croaked")),
    *(("sheep", "bleated"), ("duck", "quacked"), ("mouse", "squeaked")),
)
THINGS = (
    *(("ball", "play with"), ("kite", "fly"), ("book", "read"), ("drum", "beat"), ("boat", "sail")),
    *(("hat", "wear"), ("apple", "eat"), ("bell", "ring")),
)
PLACES = (
    *(("garden", "behind a bush"), ("park", "under a bench"), ("wood", "in a hollow tree")),
    *(("house", "in a box"), ("barn", "on a heap of straw"), ("yard", "beside the well")),
)
COLORS = ("red", "blue", "green", "yellow", "white", "black")
WEATHER = (("sunny", "the sun shone"), ("rainy", "it rained"), ("windy", "the wind blew"), ("snowy", "it snowed"))
FEELINGS = (("sad", "cried"), ("angry", "stamped"), ("quiet", "thought"), ("brave", "stood up"))
GIFTS = ("a cake", "some bread", "a warm soup", "a song", "a flower", "a big hug")


@dataclass(frozen=True)
class Stories:
    """How many stories of each split to make; equal seeds make equal ones, and no story stands twice."""

    train: int = 400
    val: int = 60
    test: int = 150
    unlabelled: int = 400
    seed: int = 0

    def write(self, target: Path) -> None:
        """Make the dataset, as people have theirs: a JSON Lines file a split."""
        chance = Random(self.seed)  # noqa: S311  nothing is secret about them
        write_splits(target, self, lambda split, index: {"text": story(chance)})


def write_splits(target: Path, sizes: object, sample: Callable[[str, int], dict[str, str]]) -> None:
    """Write a JSON Lines file a split into the new folder `target`; no text stands in it twice.

    Args:
        sizes: has the number of samples of each split as an attribute.
        sample: draws the record of a split at an index; drawn again if its `text` is there already.
    """
    target.mkdir(parents=True)
    written = set[str]()
    for split in ("train", "val", "test", "unlabelled"):
        lines: list[str] = []
        while len(lines) < getattr(sizes, split):
            record = sample(split, len(lines))
            if record["text"] not in written:
                written.add(record["text"])
                lines.append(json.dumps(record) + "\n")
        (target / f"{split}.jsonl").write_text("".join(lines))


def story(chance: Random) -> str:
    """One story."""
    (name, he), (friend, she) = chance.sample(NAMES, 2)
    animal, sound = chance.choice(ANIMALS)
    thing, use = chance.choice(THINGS)
    place, hidden = chance.choice(PLACES)
    color, weather, feeling = chance.choice(COLORS), chance.choice(WEATHER), chance.choice(FEELINGS)
    his = "his" if he == "he" else "her"
    parts = [
        chance.choice(
            (
                f"One {weather[0]} day {name} went to the {place} with {his} {animal}.",
                f"{name} had a {color} {thing} and a little {animal}. It was a {weather[0]} day.",
                f"There was once a {animal} that lived with {name}. One {weather[0]} day they went to the {place}.",
            )
        ),
        f"{name} wanted to {use} the {color} {thing}, but {he} could not find it.",
        chance.choice((f"{he.capitalize()} was {feeling[0]} and {feeling[1]}.", f"So {he} {feeling[1]}.")),
        chance.choice(
            (
                f'"Where is my {thing}?" asked {name}. The {animal} {sound}.',
                f"The {animal} {sound} and ran through the {place}, while {weather[1]}.",
            )
        ),
        f"Then {friend} came, and {she} looked {hidden}.",
        chance.choice(
            (
                f'"Here is your {color} {thing}!" said {friend}.',
                f"There lay the {color} {thing}, and {friend} gave it to {name}.",
            )
        ),
    ]
    if chance.random() < 0.5:
        parts.append(f"{name} thanked {friend} with {chance.choice(GIFTS)}.")
    parts.append(
        chance.choice(
            (
                f"Now {name} and {friend} could {use} the {thing} together, and the {animal} {sound} again.",
                f"From that day on {name} and {friend} were friends.",
            )
        )
    )
    return " ".join(parts)


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
