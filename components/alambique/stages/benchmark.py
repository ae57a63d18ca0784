"""Time every candidate and champion on this machine, side by side.

Reads   candidates/, inputs/champions/
Writes  metrics/benchmark.json

The artifacts take turns, so that whatever else the machine does falls on all of them alike.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from alambique import config, tasks
from alambique.config import Params
from alambique.files import read_json, write_json
from alambique.layout import CARD, METRICS, Subject, subjects


def run(project: Path) -> None:
    """Time one image's inference, all artifacts interleaved.

    Raises:
        IntegrityError: a candidate is missing, or a file is not what its card says.
    """
    params = config.load(project)
    task, settings = tasks.load(params.task), params.benchmark
    runners = {}
    for subject in artifacts(project, params):
        folder = project / subject.folder
        card = folder / CARD
        size = read_json(card)["image_size"] if card.exists() else params.image_size
        runners[subject.name] = task.runner(folder, size, settings.threads)
    times = measure(runners, settings.warmup, settings.runs)
    content = {
        "cpu": cpu(),
        "device": "cpu",
        "image_size": params.image_size,
        "threads": settings.threads,
        "runs": settings.runs,
        "latencies": {name: summarize(values) for name, values in times.items()},
    }
    write_json(project / METRICS / "benchmark.json", content)


def artifacts(project: Path, params: Params) -> list[Subject]:
    """All candidates of `params`, and the champions that there are."""
    return [
        subject
        for subject in subjects(params.teachers, params.students, params.seeds, params.runtimes, params.int8)
        if subject.kind == "candidate" or (subject.kind == "champion" and (project / subject.folder / CARD).exists())
    ]


def measure(runners: Mapping[str, Callable[[], None]], warmup: int, runs: int) -> dict[str, list[float]]:
    """Milliseconds of every counted run, by name.

    Args:
        warmup: rounds that are not counted.
        runs: rounds that are.
    """
    times: dict[str, list[float]] = {name: [] for name in runners}
    for name in turns(tuple(runners), warmup + runs):
        start = time.perf_counter()
        runners[name]()
        times[name].append((time.perf_counter() - start) * 1000)
    return {name: values[warmup:] for name, values in times.items()}


def turns(names: Sequence[str], rounds: int) -> Iterator[str]:
    """Every name once a round, each round beginning one further, so that none always follows the same other."""
    for number in range(rounds):
        first = number % max(len(names), 1)
        yield from (*names[first:], *names[:first])


def summarize(times: Sequence[float]) -> dict[str, float]:
    """Median, 95th percentile and mean of some milliseconds, and how many they are."""
    median, high = np.percentile(times, [50, 95])
    return {"p50_ms": float(median), "p95_ms": float(high), "mean_ms": float(np.mean(times)), "n": len(times)}


def cpu() -> str:
    """The processor's model."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, "") or platform.processor() or platform.machine()
