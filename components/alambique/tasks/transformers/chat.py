"""`alambique chat`: talk to an exported student on its own runtime, or let it go on with a text."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from transformers import PreTrainedTokenizerFast

from alambique.errors import DataError
from alambique.tasks.cards import read_card
from alambique.tasks.text import sequences
from alambique.tasks.text import tokenizer as tokenizers
from alambique.tasks.text.data import Message
from alambique.tasks.text.predict import Decoder, open_candidate


class Speaker:
    """A candidate that remembers what it has read and said.

    Attributes:
        written, seconds: tokens that it wrote, and how long that took.
    """

    def __init__(self, folder: Path, threads: int, temperature: float, seed: int) -> None:
        self.card = read_card(folder)
        if self.card.get("task") != "text":
            raise DataError(f"{folder} holds a {self.card.get('task')} artifact, which cannot talk")
        self.decoder: Decoder = open_candidate(folder, threads)
        self.tokenizer: PreTrainedTokenizerFast = tokenizers.load(folder)
        self.temperature, self.chance = temperature, np.random.default_rng(seed)
        self.keys, self.values = self.decoder.nothing()
        self.read: list[int] = []
        self.written, self.seconds = 0, 0.0

    def say(self, ids: list[int], most: int) -> Iterator[str]:
        """What follows all of `ids`, piece by piece, until the text or the window ends.

        Args:
            ids: the whole text so far; only what is new of it is computed.
            most: tokens.
        """
        ids = ids[-(self.card["max_tokens"] - 1) :]
        if self.read != ids[: len(self.read)] or len(self.read) == len(ids):
            self.keys, self.values = self.decoder.nothing()
            self.read = []
        fresh, said, shown = ids[len(self.read) :], list[int](), ""
        begun = time.perf_counter()
        while len(said) < most and len(self.read) + len(fresh) <= self.card["max_tokens"]:
            logits, self.keys, self.values = self.decoder.step(np.array([fresh]), self.keys, self.values)
            self.read += fresh
            token = self._choose(logits[0, -1])
            if token == self.card["end"]:
                break
            said.append(token)
            fresh = [token]
            # Behind the last token that was read: what begins a text loses its space.
            whole = self._text([*ids[-1:], *said])[len(self._text(ids[-1:])) :]
            if not whole.endswith("\ufffd"):  # a letter of several tokens is not finished yet
                yield whole[len(shown) :]
                shown = whole
        self.written += len(said)
        self.seconds += time.perf_counter() - begun

    def _text(self, ids: list[int]) -> str:
        return str(self.tokenizer.decode(ids, skip_special_tokens=True))

    def _choose(self, logits: NDArray[np.float32]) -> int:
        if self.temperature == 0:
            return int(logits.argmax())
        chances = np.exp((logits - logits.max()).astype(float) / self.temperature)
        return int(self.chance.choice(len(chances), p=chances / chances.sum()))


def chat(folder: Path, *, temperature: float, most: int, seed: int, threads: int, console: Console) -> None:
    """Read lines and answer each, until the input ends; then say how fast it was.

    A model with a chat template answers; one without goes on with each line.

    Args:
        folder: a candidate's.
        temperature: 0 takes the likeliest token; above, tokens are drawn.
        most: tokens of an answer.
        seed: of what is drawn.
        threads: the runtime computes with.
    Raises:
        DataError: the folder holds no language model.
        IntegrityError: a file is not what its card says.
    """
    speaker = Speaker(folder, threads, temperature, seed)
    card = speaker.card
    mode = "It answers" if card["chat"] else "It goes on with"
    console.print(f"{card['candidate']}, {card['runtime']}. {mode} each line; end with Ctrl-D.", highlight=False)
    messages: list[Message] = []
    while (line := _line(console)) is not None:
        if not line.strip():
            continue
        said = []
        for piece in speaker.say(_ids(speaker, messages, line), most):
            console.print(piece, end="", markup=False, highlight=False, soft_wrap=True)
            said.append(piece)
        console.print()
        messages += [{"role": "user", "content": line}, {"role": "assistant", "content": "".join(said)}]
    if speaker.written:
        rate = speaker.written / speaker.seconds
        console.print(f"{speaker.written} tokens, {rate:.1f} tokens/s", highlight=False)


def _ids(speaker: Speaker, messages: list[Message], line: str) -> list[int]:
    """All that the model shall read: the conversation with its new line, or that line alone."""
    if not speaker.card["chat"]:
        begin, ids = speaker.card["begin"], list(speaker.tokenizer(line, add_special_tokens=False)["input_ids"])
        return ids if begin is None else [begin, *ids]
    whole = sequences.render("chat", [*messages, {"role": "user", "content": line}], speaker.tokenizer, answer=True)
    return list(speaker.tokenizer(whole, add_special_tokens=False)["input_ids"])


def _line(console: Console) -> str | None:
    try:
        return console.input("> ")
    except EOFError:
        console.print()
        return None
