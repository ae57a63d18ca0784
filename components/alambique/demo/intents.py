"""What people ask of an assistant, by a grammar: intents whose words overlap, said politely, shortly or with a slip."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from random import Random

from alambique.demo.stories import write_splits

SLOTS: dict[str, tuple[str, ...]] = {
    "card": ("card", "debit card", "credit card", "new card", "bank card"),
    "when": ("today", "yesterday", "last night", "on Monday", "a week ago", "this morning", "three days ago"),
    "sum": ("20 pounds", "fifty euros", "100 dollars", "my salary", "the rent", "a small amount"),
    "shop": ("the bakery", "an online shop", "the petrol station", "a hotel", "the supermarket", "the pharmacy"),
    "place": ("abroad", "in Spain", "at the airport", "near my home", "at the station"),
    "who": ("my sister", "a friend", "my landlord", "my employer", "my mother", "a shop"),
    "yet": ("still", "after all this time", "until now", "as of today"),
}
INTENTS: dict[str, tuple[str, ...]] = {
    "card_arrival": (
        "my {card} has {yet} not arrived",
        "when will the {card} that I ordered {when} come",
        "how long does it take until a {card} is delivered",
        "I wait for my {card} {yet}",
    ),
    "card_lost": (
        "I lost my {card} {when}",
        "my {card} is gone, I had it {when}",
        "I cannot find my {card} {place}",
        "I left my {card} at {shop}",
    ),
    "card_stolen": (
        "somebody stole my {card} {when}",
        "my {card} was taken out of my bag {place}",
        "a thief has my {card}",
        "my {card} was stolen {place} {when}",
    ),
    "card_blocked": (
        "my {card} is blocked {when}",
        "why was my {card} refused at {shop}",
        "the machine {place} does not take my {card}",
        "I cannot pay at {shop} with my {card}",
    ),
    "pin_forgotten": (
        "I forgot the code of my {card}",
        "I do not remember my pin {place}",
        "where can I see the pin of my {card}",
        "I typed a wrong code {place} {when}",
    ),
    "transfer_late": (
        "{who} has {yet} not received {sum}",
        "where is the {sum} that I sent to {who} {when}",
        "the transfer to {who} takes too long {yet}",
        "I sent {sum} {when} and {who} waits {yet}",
    ),
    "transfer_undo": (
        "I sent {sum} to {who} by mistake",
        "can I get back the {sum} that I sent {when}",
        "please stop the transfer to {who} of {when}",
        "I typed a wrong account when I paid {who}",
    ),
    "charged_twice": (
        "{shop} took {sum} from me twice",
        "there are two payments to {shop} {when}",
        "I paid {shop} once, but {sum} is gone two times",
        "I see the same payment of {sum} again {when}",
    ),
    "unknown_payment": (
        "I never paid {sum} to {shop}",
        "there is a payment {place} that I do not know",
        "who took {sum} from my account {when}",
        "I was not {place} {when}, but a payment says so",
    ),
    "refund": (
        "{shop} has {yet} not paid me back",
        "where is my refund of {sum} from {shop}",
        "I gave the goods back to {shop} {when} and wait for {sum}",
        "when do I get back {sum} from {shop}",
    ),
    "exchange_rate": (
        "what rate did I get when I paid {place}",
        "the rate for {sum} {place} was wrong {when}",
        "how do you change {sum} when I pay {place}",
        "why was paying {shop} {place} so dear",
    ),
    "cash_fee": (
        "why did I pay a fee for {sum} in cash",
        "what does it cost to take out {sum} {place}",
        "I was charged for cash {place} {when}",
        "is there a fee for taking out money with my {card}",
    ),
}
BEGINNINGS = ("", "", "", "hello, ", "hi, ", "please help, ", "excuse me, ", "I have a question: ", "well, ")
ENDS = ("", "", "?", ".", ", please", ", what can I do?", ", can you help?", ", thanks")
SYNONYMS = {
    "arrived": "come",
    "lost": "misplaced",
    "stole": "took",
    "payment": "charge",
    "transfer": "payment",
    "sent": "transferred",
    "refund": "money back",
    "code": "pin",
    "see": "find",
    "wait": "am waiting",
    "take out": "withdraw",
    "paid": "gave",
    "cannot": "can't",
    "do not": "don't",
}
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
        chance, names = Random(self.seed), list(INTENTS)  # noqa: S311  nothing is secret about them

        def sample(split: str, index: int) -> dict[str, str]:
            intent = names[index % len(names)]
            text = {"text": sentence(intent, chance)}
            return text if split == "unlabelled" else {**text, "label": intent}

        write_splits(target, self, sample)


def sentence(intent: str, chance: Random) -> str:
    """One text of an intent."""
    said = chance.choice(INTENTS[intent])
    for word, other in SYNONYMS.items():
        if re.search(rf"\b{word}\b", said) and chance.random() < SAID_OTHERWISE:
            said = re.sub(rf"\b{word}\b", other, said)
    said = re.sub(r"\{(\w+)\}", lambda slot: chance.choice(SLOTS[slot[1]]), said)
    if chance.random() < SLIPS:
        place = chance.randrange(len(said) - 1)
        said = said[:place] + said[place + 1] + said[place] + said[place + 2 :]
    return chance.choice(BEGINNINGS) + said + chance.choice(ENDS)
