"""Time every candidate and champion on this machine, side by side.

Reads   candidates/, inputs/champions/
Writes  metrics/benchmark.json

The artifacts take turns, so that whatever else the machine does falls on all of them alike; each round's times stand
in the file, since only times of one round can be compared.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from alambique import config, tasks
from alambique.config import Params
from alambique.files import write_json
from alambique.layout import CARD, METRICS, EvaluationTarget, evaluation_targets
from alambique.process.cores import pinned
from alambique.stages import cold_start

Result = TypeVar("Result")


def run(project: Path) -> None:
    """Time one image's inference, all artifacts interleaved; then their cold starts, interleaved too.

    Raises:
        IntegrityError: a candidate is missing, or a file is not what its card says.
        TransientError: an artifact could not be started in a process of its own.
    """
    params = config.load(project)
    task, settings = tasks.load(params.task), params.benchmark
    works = {subject.name: (project / subject.folder, settings.threads) for subject in artifacts(project, params)}
    with pinned(settings.threads) as cores:
        runners = {name: task.runner(*work) for name, work in works.items()}
        times = measure(runners, settings.warmup, settings.runs)
        starters = {name: partial(cold_start.measure, params.task, *work) for name, work in works.items()}
        starts = in_turn(starters, settings.cold_starts)
    content = {
        "cpu": cpu(),
        "device": "cpu",
        "input_size": params.input_size,
        "threads": settings.threads,
        "cores": cores,
        "runs": settings.runs,
        "cold_starts": settings.cold_starts,
        "latencies": {
            name: {**summarize(times[name]), **cold_start.summarize(starts[name]), "times_ms": times[name]}
            for name in works
        },
    }
    write_json(project / METRICS / "benchmark.json", content)


def artifacts(project: Path, params: Params) -> list[EvaluationTarget]:
    """All candidates of `params`, and the champions that there are."""
    return [
        subject
        for subject in evaluation_targets(params.teachers, params.students, params.seeds, params.runtimes, params.int8)
        if subject.kind == "candidate" or (subject.kind == "champion" and (project / subject.folder / CARD).exists())
    ]


def measure(runners: Mapping[str, Callable[[], None]], warmup: int, runs: int) -> dict[str, list[float]]:
    """Milliseconds of every counted run, by name.

    Args:
        warmup: rounds that are not counted.
        runs: rounds that are.
    """
    times = in_turn({name: partial(_milliseconds, runner) for name, runner in runners.items()}, warmup + runs)
    return {name: values[warmup:] for name, values in times.items()}


def _milliseconds(runner: Callable[[], None]) -> float:
    start = time.perf_counter()
    runner()
    return (time.perf_counter() - start) * 1000


def in_turn(works: Mapping[str, Callable[[], Result]], rounds: int) -> dict[str, list[Result]]:
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
