"""Alternatives that take turns, each a real training of a few steps, timed from its first step to its last."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from alambique.errors import AlambiqueError
from alambique.process.timing import turns
from benchmarks import common

Block = Callable[[], float]
"""Seconds per sample."""
Round = Mapping[str, float]
"""Seconds per sample by the block's name."""


def interleave(blocks: Mapping[str, Block], rounds: int, done: Path) -> list[Round]:
    """Measure every block once a round; each round begins with another of them.

    Args:
        done: folder of the rounds that an interrupted run has measured; they are not measured again.
    """
    order = list(turns(tuple(blocks), rounds))
    measured: list[Round] = []
    for number in range(rounds):
        names = order[number * len(blocks) : (number + 1) * len(blocks)]
        measured.append(common.kept(done / f"{number}.json", partial(_measure, blocks, names)))
        common.tell(
            f"round {number + 1} of {rounds}: " + ", ".join(f"{name} {measured[-1][name]:.3g}" for name in blocks)
        )
    return measured


def ratio(id: str, measured: Sequence[Round], over: str, under: str, goal: str | None = None) -> common.Row:
    """What `over` takes for what `under` takes, within a round: median and quartiles."""
    return common.median(id, [each[over] / each[under] for each in measured], goal)


def share_of_ceiling(measured: Sequence[Round], online: str, teacher: str, goal: str | None = None) -> common.Row:
    """What an online teacher takes for what the cache does, over the most that a teacher without any cost could save.

    Args:
        online: the block whose teacher looks at every batch.
        teacher: the block of that teacher's forward pass alone.
    """
    shares = [each[online] / each["cached"] / ((each["plain"] + each[teacher]) / each["plain"]) for each in measured]
    return common.median("share_of_ceiling", shares, goal)


def forward(teacher: nn.Module, images: Tensor) -> float:
    """Seconds an image of a forward pass; what the images show does not matter."""
    times = []
    with torch.no_grad():
        for _ in range(4):
            teacher(images)
            times.append(time.perf_counter())
    return per_sample(times, len(images))


@contextmanager
def step_times() -> Iterator[list[float]]:
    """When each step of an optimizer ended, for as long as the block runs."""
    times: list[float] = []
    handle = register_optimizer_step_post_hook(lambda *_: times.append(time.perf_counter()))
    try:
        yield times
    finally:
        handle.remove()


def per_sample(times: Sequence[float], samples: int) -> float:
    """Seconds a sample, where a step takes so many of them.

    Raises:
        AlambiqueError: there were fewer than two steps.
    """
    if len(times) < 2:
        raise AlambiqueError(f"a block took {len(times)} steps; two are needed to time what lies between them")
    return (times[-1] - times[0]) / (len(times) - 1) / samples


def _measure(blocks: Mapping[str, Block], names: Sequence[str]) -> Round:
    return {name: blocks[name]() for name in names}
