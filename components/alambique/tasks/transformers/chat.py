"""`alambique chat`: talk to an exported student on its own runtime, or let it continue a text."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from alambique.errors import DataError
from alambique.runtimes.base import Array, Program
from alambique.tasks.cards import read_card
from alambique.tasks.transformers import sequences, tokenizers
from alambique.tasks.transformers.dataset import Message
from alambique.tasks.transformers.evaluate import empty_past


class Generator:
    """A candidate on its own runtime, with the keys and values of the tokens that it was given so far.

    Args:
        temperature: 0 takes the likeliest token; above, tokens are drawn.
    Attributes:
        generated, seconds: tokens that it generated, and how long that took.
    Raises:
        DataError: the folder holds no exported language model.
        IntegrityError: a file is not what its card says.
    """

    keys: Array
    values: Array

    def __init__(self, folder: Path, threads: int, temperature: float, seed: int) -> None:
        from alambique import runtimes

        self.card = card = read_card(folder)
        if card.get("task") != "text":
            raise DataError(f"{folder} holds a {card.get('task')} artifact, which generates no text")
        if "runtime" not in card:
            raise DataError(f"{folder} is a checkpoint, not an exported candidate; give a folder below candidates/")
        self.program: Program = runtimes.open_candidate(folder, card, threads)
        self.tokenizer = tokenizers.load(folder)
        self.temperature, self.random = temperature, np.random.default_rng(seed)
        self.generated, self.seconds = 0, 0.0
        self._forget()

    def generate(self, ids: list[int], limit: int) -> Iterator[str]:
        """The continuation of `ids`, piece by piece, until `limit` tokens or the end of the text or the window.

        Args:
            ids: the whole text so far; only tokens that were not given before are computed.
        """
        ids = ids[-(self.card["max_tokens"] - 1) :]
        if self.past != ids[: len(self.past)] or len(self.past) == len(ids):
            self._forget()
        new, generated, shown = ids[len(self.past) :], list[int](), ""
        begun = time.perf_counter()
        while len(generated) < limit and len(self.past) + len(new) <= self.card["max_tokens"]:
            logits, self.keys, self.values = self.program(np.array([new]), self.keys, self.values)
            self.past += new
            token = self._choose(logits[0, -1])
            if token == self.card["end"]:
                break
            generated.append(token)
            new = [token]
            # Decoded after the last token of `ids`: the first of a text loses its space.
            whole = self._text([*ids[-1:], *generated])[len(self._text(ids[-1:])) :]
            if not whole.endswith("\ufffd"):  # a character of several tokens is not finished yet
                yield whole[len(shown) :]
                shown = whole
        self.generated += len(generated)
        self.seconds += time.perf_counter() - begun

    def _forget(self) -> None:
        self.keys, self.values = empty_past(self.card)
        self.past: list[int] = []

    def _text(self, ids: list[int]) -> str:
        return str(self.tokenizer.decode(ids, skip_special_tokens=True))

    def _choose(self, logits: NDArray[np.float32]) -> int:
        if self.temperature == 0:
            return int(logits.argmax())
        weights = np.exp((logits - logits.max()).astype(float) / self.temperature)
        return int(self.random.choice(len(weights), p=weights / weights.sum()))


def chat(folder: Path, *, temperature: float, limit: int, seed: int, threads: int, console: Console) -> None:
    """Read lines and answer each, until the input ends; then print the speed.

    A model with a chat template answers, in at most `limit` tokens; one without continues each line. See `Generator`.
    """
    generator = Generator(folder, threads, temperature, seed)
    card = generator.card
    mode = "It answers" if card["chat"] else "It continues"
    console.print(f"{card['candidate']}, {card['runtime']}. {mode} each line; end with Ctrl-D.", highlight=False)
    messages: list[Message] = []
    while (line := _line(console)) is not None:
        if not line.strip():
            continue
        answer = []
        for piece in generator.generate(_ids(generator, messages, line), limit):
            console.print(piece, end="", markup=False, highlight=False, soft_wrap=True)
            answer.append(piece)
        console.print()
        messages += [{"role": "user", "content": line}, {"role": "assistant", "content": "".join(answer)}]
    if generator.generated:
        rate = generator.generated / generator.seconds
        console.print(f"{generator.generated} tokens, {rate:.1f} tokens/s", highlight=False)


def _ids(generator: Generator, messages: list[Message], line: str) -> list[int]:
    """The model's input: the conversation with its new line, or that line alone."""
    tokenizer = generator.tokenizer
    if not generator.card["chat"]:
        begin, ids = generator.card["begin"], list(tokenizer(line, add_special_tokens=False)["input_ids"])
        return ids if begin is None else [begin, *ids]
    whole = sequences.render("chat", [*messages, {"role": "user", "content": line}], tokenizer, answer=True)
    return list(tokenizer(whole, add_special_tokens=False)["input_ids"])


def _line(console: Console) -> str | None:
    try:
        return console.input("> ")
    except EOFError:
        console.print()
        return None
