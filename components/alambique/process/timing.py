"""Inference times that can be compared: interleaved, on cores of their own, with the processor's name beside them."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

Result = TypeVar("Result")


def measure(runners: Mapping[str, Callable[[], object]], warmup: int, runs: int) -> dict[str, list[float]]:
    """Milliseconds of every run, by name; all runners once a round, of which the first `warmup` are not counted."""
    times = round_robin({name: partial(_milliseconds, runner) for name, runner in runners.items()}, warmup + runs)
    return {name: values[warmup:] for name, values in times.items()}


def round_robin(works: Mapping[str, Callable[[], Result]], rounds: int) -> dict[str, list[Result]]:
    """Do every work once a round; the results of each, round by round."""
    results: dict[str, list[Result]] = {name: [] for name in works}
    for name in turns(tuple(works), rounds):
        results[name].append(works[name]())
    return results


def turns(names: Sequence[str], rounds: int) -> Iterator[str]:
    """Every name once a round, each round beginning one further, so that none always follows the same other."""
    for number in range(rounds):
        first = number % max(len(names), 1)
        yield from (*names[first:], *names[:first])


def summarize(times: Sequence[float]) -> dict[str, float]:
    """Percentiles and mean of some milliseconds, and how many they are."""
    median, high, highest = np.percentile(times, [50, 95, 99])
    return {
        "p50_ms": float(median),
        "p95_ms": float(high),
        "p99_ms": float(highest),
        "mean_ms": float(np.mean(times)),
        "n": len(times),
    }


def cpu() -> str:
    """The processor's model."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, "") or platform.processor() or platform.machine()


def _milliseconds(runner: Callable[[], object]) -> float:
    start = time.perf_counter()
    runner()
    return (time.perf_counter() - start) * 1000


@contextmanager
def pinned(threads: int) -> Iterator[list[int] | None]:
    """Keep this thread, and the threads and processes that it starts, on as many cores as it computes with.

    Times vary less when nothing moves between caches. All that is timed shares these cores, so that a neighbour who
    keeps one of them busy is in the way of all alike. They are the last ones: the first serve most interrupts.

    Args:
        threads: how many cores, or all that this process may use, if they are fewer.
    Returns:
        the cores' numbers; None where the platform does not let one choose.
    """
    if not hasattr(os, "sched_setaffinity"):
        yield None
        return
    before = os.sched_getaffinity(0)
    chosen = sorted(before)[-threads:]
    os.sched_setaffinity(0, chosen)
    try:
        yield chosen
    finally:
        os.sched_setaffinity(0, before)
