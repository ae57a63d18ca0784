"""What a teacher is worth: students with one and without, in projects whose stages are the product's own.

A project is as `alambique init` makes it, with the defaults of its params.yaml but for what a benchmark names. It has
one teacher and one student, which is trained once for every seed, distilled, and as a control from the same start, for
as many steps, without the teacher. The first seed's student is also pruned and quantized. Intervals are those of the
product's report: paired over seeds and test samples. What is done is not done again after an interruption.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from alambique import config, layout, tasks
from alambique.config.params import Params
from alambique.evaluation import paired_bootstrap
from alambique.files import read_json
from benchmarks import stage_runs
from benchmarks.common import Row
from benchmarks.stage_runs import Stage

Steps = dict[str, list[Stage]]
"""Lists of stages by what they are about; what is in one list is done one after the other."""


def do(projects: Sequence[Path], jobs: int) -> None:
    """Do every stage of the projects that is not done yet.

    Args:
        jobs: trainings at a time, each with one thread.
    """
    steps: tuple[Callable[[Params], Steps], ...] = (teacher, students, smaller)
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=stage_runs.begin) as pool:
        for step in steps:
            work = {
                f"{project.name}: {name}": partial(stage_runs.do, project, made)
                for project in projects
                for name, made in step(config.load(project)).items()
            }
            stage_runs.advance(pool, work)


def teacher(params: Params) -> Steps:
    """All up to the soft labels."""
    (name,) = params.teachers
    measured = Stage("evaluate", (f"teacher-{name}",))
    return {"teacher": [Stage("validate"), Stage("teacher", (name,)), measured, Stage("soft_labels", ("0",))]}


def students(params: Params) -> Steps:
    """Each student, trained and then measured."""
    (name,) = params.students
    return {
        f"{kind} {seed}": [
            Stage("distill" if kind == "distilled" else "control", (name, str(seed))),
            Stage("evaluate", (f"{name}-{kind}-{seed}",)),
        ]
        for seed in params.seeds
        for kind in layout.SEEDED
    }


def smaller(params: Params) -> Steps:
    """The first seed's student pruned, then in INT8 for each runtime, all measured."""
    (name,) = params.students
    made = [Stage("search"), Stage("prune", (name,)), Stage("evaluate", (f"{name}-pruned",))]
    for runtime in params.int8:
        made += [Stage("quantize", (name, runtime)), Stage("evaluate", (f"{name}-{runtime}-int8",))]
    return {"smaller": made}


def gain(project: Path, id: str, goal: str | None = None) -> Row:
    """Distilled − control in points of the task's headline metric, paired over seeds and the samples of test."""
    params = config.load(project)
    (name,) = params.students
    distilled, control = (
        [project / layout.evaluation(f"{name}-{kind}-{seed}") for seed in params.seeds]
        for kind in ("distilled", "control")
    )
    return stage_runs.gain(id, goal, distilled, control, task=params.task)


def runs(project: Path) -> list[dict[str, Any]]:
    """What every subject of a project came to on test, with the interval of its headline metric over the samples."""
    params = config.load(project)
    resample = tasks.load(params.task).resample
    found = []
    for subject in layout.evaluation_targets(
        params.teachers, params.students, params.seeds, params.runtimes, params.int8
    ):
        path = project / layout.evaluation_metrics(subject.name)
        if not path.exists():
            continue
        own = paired_bootstrap.headline(resample, project / layout.evaluation(subject.name))
        figures = {key: value for key, value in read_json(path).items() if isinstance(value, int | float)}
        found.append({"setting": project.name, "subject": subject.name, "low": own.low, "high": own.high, **figures})
    return found


def means(project: Path) -> list[dict[str, Any]]:
    """The mean of the seeds' headline metric, of students and of controls, with the interval over the samples."""
    params = config.load(project)
    (name,) = params.students
    found = []
    for kind in layout.SEEDED:
        folders = [project / layout.evaluation(f"{name}-{kind}-{seed}") for seed in params.seeds]
        own = paired_bootstrap.headline(tasks.load(params.task).resample, *folders)
        found.append({"setting": project.name, "kind": kind, "value": own.value, "low": own.low, "high": own.high})
    return found
