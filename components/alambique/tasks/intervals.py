"""A training's steps, in intervals: val is measured after each, and a killed training goes on after the last one.

A step is one update by the optimizer, with `training.batch` samples. The samples of all steps are an endless sequence
of epochs, each a permutation of the objective's samples, so that a training's length does not depend on how many
samples there are: each is drawn equally often, to within one.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from itertools import count
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import Sampler

from alambique.config.params import Training
from alambique.evaluation.measures import Metrics

log = logging.getLogger(__name__)


class Intervals(NamedTuple):
    """The intervals of a training.

    Attributes:
        number: of intervals, the ceiling.
        steps: of each.
        patience: intervals without a better figure on val, after which the training stops; None: never.
    """

    number: int
    steps: int
    patience: int | None

    @classmethod
    def of(cls, steps: int, training: Training) -> Intervals:
        """Equal intervals of about `training.val_interval` steps, which come to `steps` to within rounding."""
        number = max(1, round(steps / training.val_interval))
        each = max(1, round(steps / number))
        return cls(number, each, training.patience and math.ceil(training.patience / each))

    @property
    def ceiling(self) -> int:
        """Steps of the whole training."""
        return self.number * self.steps

    def fraction(self, share: float, most: int) -> float:
        """Intervals in a share of the training, in `most` steps if those are fewer."""
        return min(share * self.ceiling, most) / self.steps

    def outcome(self, done: int, best: int, before: int = 0) -> Metrics:
        """How a training ended, as metrics, and as a line in the log; nothing where val was not measured.

        A training that ended at its ceiling was still improving if it was best within the last `patience`, or the last
        quarter of a training shorter than four times that.

        Args:
            done: intervals that were trained.
            best: the interval after which val was best, from 1.
            before: steps of the stage's earlier trainings.
        Returns:
            best_step, counted with those before; still_improving.
        """
        if self.patience is None:
            return {}
        steps, kept = done * self.steps, f"best after {best * self.steps:,}"
        stopped = done - best >= self.patience
        improving = not stopped and done - best < max(1, min(self.patience, self.number / 4))
        if stopped:
            waited = f"no better on val for {(done - best) * self.steps:,} steps"
            log.info("stopped after %s of %s steps: %s (%s)", f"{steps:,}", f"{self.ceiling:,}", waited, kept)
        elif improving:
            ceiling = f"reached its ceiling of {self.ceiling:,} steps while val was still improving"
            log.info("%s (%s): raise its `steps`", ceiling, kept)
        else:
            log.info("reached its ceiling of %s steps (%s)", f"{self.ceiling:,}", kept)
        return {"best_step": before + best * self.steps, "still_improving": improving}


class IntervalSampler(Sampler[int]):
    """Indices of the samples of one interval after the other, without end.

    What it yields depends on the arguments and the interval alone, so that a training may begin at any. Of every step's
    samples each rank gets its share: together they get what one process would.

    Args:
        samples: of an epoch.
        interval: samples of an interval, over all ranks.
        seed: of the permutations.
        rank, ranks: of a training on several GPUs.
    """

    def __init__(self, samples: int, interval: int, seed: int, rank: int = 0, ranks: int = 1) -> None:
        self.samples, self.interval, self.seed, self.rank, self.ranks = samples, interval, seed, rank, ranks
        self.first = 0

    def __len__(self) -> int:
        """Samples of an interval."""
        return self.interval // self.ranks

    def __iter__(self) -> Iterator[int]:
        for number in count(self.first):
            yield from (index for _, index in self.draw(number))

    def set_epoch(self, epoch: int) -> None:
        """Let an iteration that is started anew begin with this interval; one under way goes on."""
        self.first = epoch

    def draw(self, number: int) -> list[tuple[int, int]]:
        """Epoch and index of each sample of an interval, by its number from 0."""
        first = number * self.interval
        drawn: list[tuple[int, int]] = []
        for epoch in range(first // self.samples, (first + self.interval - 1) // self.samples + 1):
            drawn += ((epoch, index) for index in self._permutation(epoch))
        begun = first % self.samples
        return drawn[begun + self.rank : begun + self.interval : self.ranks]

    def _permutation(self, epoch: int) -> list[int]:
        order: list[int] = torch.randperm(self.samples, generator=seeded(self.seed, epoch)).tolist()
        return order


def seeded(*numbers: int) -> torch.Generator:
    """A generator that depends on these numbers alone."""
    return torch.Generator().manual_seed(drawn_seed(*numbers))


def drawn_seed(*numbers: int) -> int:
    """A seed of 32 bits that depends on these numbers alone, drawn so that neighbours have nothing in common."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])
