from __future__ import annotations

from collections import Counter
from itertools import islice

import pytest

from alambique.config.params import Training
from alambique.tasks.intervals import Intervals, IntervalSampler


@pytest.mark.parametrize(
    ("steps", "interval", "expected"),
    [(2000, 100, (20, 100)), (40, 100, (1, 40)), (1, 100, (1, 1)), (250, 100, (2, 125)), (1010, 100, (10, 101))],
)
def test_intervals_are_equal_and_come_to_the_steps(steps: int, interval: int, expected: tuple[int, int]) -> None:
    intervals = Intervals.of(steps, Training(val_interval=interval))
    assert intervals[:2] == expected
    assert intervals.ceiling == steps


def test_patience_is_rounded_up_to_whole_intervals() -> None:
    assert Intervals.of(2000, Training(patience=410)).patience == 5
    assert Intervals.of(2000, Training(patience=1)).patience == 1
    assert Intervals.of(2000, Training(patience=None)).patience is None


@pytest.mark.parametrize("samples", [3, 41, 160, 1000])
def test_each_sample_is_drawn_equally_often_to_within_one(samples: int) -> None:
    sampler = IntervalSampler(samples, 32, seed=0)
    counts = Counter(index for number in range(10) for _, index in sampler.draw(number))
    assert sum(counts.values()) == 320
    assert max(counts.values()) - min(counts[index] for index in range(samples)) <= 1


def test_every_epoch_is_another_permutation() -> None:
    sampler = IntervalSampler(10, 25, seed=0)
    drawn = [*sampler.draw(0), *sampler.draw(1)]
    epochs = [[index for epoch, index in drawn if epoch == number] for number in range(5)]
    assert [epoch for epoch, _ in drawn] == [number for number in range(5) for _ in range(10)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert len(set(map(tuple, epochs))) == 5


def test_the_order_depends_on_seed_and_interval_alone() -> None:
    one, two, other = (IntervalSampler(50, 16, seed) for seed in (0, 0, 1))
    one.draw(0)
    assert one.draw(3) == two.draw(3) != other.draw(3)


def test_an_iteration_goes_on_from_interval_to_interval() -> None:
    sampler = IntervalSampler(7, 4, seed=0)
    intervals = [[index for _, index in sampler.draw(number)] for number in range(5)]
    under_way = iter(sampler)
    assert len(sampler) == len(list(islice(under_way, 4))) == 4
    sampler.set_epoch(3)
    assert list(islice(under_way, 4)) == intervals[1]
    assert list(islice(sampler, 8)) == [*intervals[3], *intervals[4]]


def test_ranks_share_each_step() -> None:
    whole = [index for _, index in IntervalSampler(20, 24, seed=0).draw(1)]
    ranks = [[index for _, index in IntervalSampler(20, 24, 0, rank, 2).draw(1)] for rank in (0, 1)]
    for step in range(3):  # of 8 samples, 4 by each
        parts = [rank[4 * step : 4 * step + 4] for rank in ranks]
        assert sorted(parts[0] + parts[1]) == sorted(whole[8 * step : 8 * step + 8])


@pytest.mark.parametrize(
    ("patience", "done", "best", "improving", "words"),
    [
        (500, 14, 9, False, "stopped after 1,400 of 2,000 steps: no better on val for 500 steps (best after 900)"),
        (500, 20, 19, True, "reached its ceiling of 2,000 steps while val was still improving (best after 1,900)"),
        (500, 20, 15, False, "stopped after 2,000 of 2,000 steps: no better on val for 500 steps (best after 1,500)"),
        (5000, 20, 15, False, "reached its ceiling of 2,000 steps (best after 1,500)"),
    ],
)
def test_how_a_training_ended(
    patience: int, done: int, best: int, improving: bool, words: str, said: list[str]
) -> None:
    outcome = Intervals.of(2000, Training(patience=patience)).outcome(done, best, before=1000)
    assert outcome == {"best_step": 1000 + 100 * best, "still_improving": improving}
    assert said[-1].startswith(words)


def test_a_training_without_patience_says_nothing_of_its_end(said: list[str]) -> None:
    assert Intervals.of(2000, Training(patience=None)).outcome(20, 0) == {}
    assert said == []
