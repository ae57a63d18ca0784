"""Time every candidate and champion on this machine, side by side.

Reads   candidates/, inputs/champions/
Writes  metrics/benchmark.json

The artifacts take turns, so that whatever else the machine does falls on all of them alike; each round's times stand
in the file, since only times of one round can be compared.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from alambique import config, tasks
from alambique.config import Params
from alambique.files import write_json
from alambique.layout import CARD, METRICS, EvaluationTarget, evaluation_targets
from alambique.process.timing import cpu, measure, pinned, round_robin, summarize
from alambique.stages import cold_start
from alambique.stages.work import open_program
from alambique.tasks import Task
from alambique.tasks.cards import read_card


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
        runners = {name: runner(task, *work) for name, work in works.items()}
        times = measure(runners, settings.warmup, settings.runs)
        starters = {name: partial(cold_start.measure, params.task, *work) for name, work in works.items()}
        starts = round_robin(starters, settings.cold_starts)
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


def runner(task: Task, folder: Path, threads: int) -> Callable[[], object]:
    """A candidate's inference on one input of noise, loaded and ready."""
    program, inputs = open_program(task, folder, threads), task.noise(read_card(folder))
    return partial(program, *inputs)
