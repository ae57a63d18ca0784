"""Put every measured subject into one table, and on one page.

Reads   data/, search/, evaluations/, metrics/
Writes  report/leaderboard.json, report/report.html
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import permutations, product
from pathlib import Path
from typing import Any

from alambique import config, tasks
from alambique.config import Params
from alambique.errors import DataError
from alambique.evaluation import build, gates, paired_bootstrap
from alambique.evaluation.leaderboard import Leaderboard
from alambique.evaluation.measures import Interval
from alambique.files import fresh_folder, read_json, write_json, write_text
from alambique.layout import DATA, METRICS, REPORT, EvaluationTarget, evaluation, evaluation_metrics, evaluation_targets
from alambique.report import page, search


def run(project: Path) -> None:
    """Write the leaderboard that gates read, and the report that people read.

    Raises:
        DataError: a subject was not evaluated, or nothing was benchmarked; the message names the missing file.
    """
    params = config.load(project)
    board = compare(project, params)
    choice = search.read(project) if params.budget.asked else None
    with fresh_folder(project / REPORT) as target:
        write_json(target / "leaderboard.json", board)
        task = tasks.load(params.task)
        html = page.render(
            board,
            task.pictures(project, params, board),
            task.plots(project, params, board),
            gates.configured(params),
            choice,
            sensitivities(project, params),
        )
        write_text(target / "report.html", html)


def compare(project: Path, params: Params) -> Leaderboard:
    """Join the metrics files; see `run`."""
    task = tasks.load(params.task)
    dataset = task.dataset(project / DATA)
    data = dataset.digest("test")
    evaluations = {
        subject.name: _metrics(project, evaluation_metrics(subject.name), "evaluate")
        for subject in evaluation_targets(params.teachers, params.students, params.seeds, params.runtimes, params.int8)
    }
    today = {
        name: project / evaluation(name)
        for name, metrics in evaluations.items()
        if metrics.get(params.HEADLINE) is not None and metrics.get("data") == data
    }
    with_production = [name for name, metrics in evaluations.items() if metrics.get("field")]
    teachers = [name for name in with_production if EvaluationTarget.parse(name).kind == "teacher"]
    board = build.leaderboard(
        params,
        headline=params.HEADLINE,
        samples=task.samples,
        measures=task.measures,
        by_class=task.by_class,
        data=data,
        classes=dataset.classes,
        evaluations=evaluations,
        gains={student: _gain(params, student, today) for student in params.students},
        intervals=paired_bootstrap.intervals(task.resample, today, list(permutations(today, 2))),
        benchmark=_metrics(project, METRICS / "benchmark.json", "benchmark"),
        agreements={
            (name, teacher): task.agreement(project / evaluation(name), project / evaluation(teacher), params)
            for name, teacher in product(with_production, teachers)
        },
    )
    for row in board["rows"]:
        if {row["subject"], board["teacher"]} <= today.keys():
            figures = task.relative(today[row["subject"]], today[board["teacher"]], params)
            row["metrics"] |= build.numbers(figures)
    return board


def sensitivities(project: Path, params: Params) -> dict[str, Any]:
    """What each layer's narrowing cost, of the students whose pruning asked."""
    files = {student: project / METRICS / f"prune/{student}.json" for student in params.students}
    scans = {student: read_json(file).get("sensitivity") for student, file in files.items() if file.is_file()}
    return {student: scan for student, scan in scans.items() if scan}


def _gain(params: Params, student: str, today: Mapping[str, Path]) -> Interval | None:
    """Distilled − control over every seed; None if one of them is not among the evaluations of today's test split."""
    distilled, control = ([f"{student}-{kind}-{seed}" for seed in params.seeds] for kind in ("distilled", "control"))
    if not {*distilled, *control} <= today.keys():
        return None
    first, second = ([today[name] for name in names] for names in (distilled, control))
    return paired_bootstrap.gain(tasks.load(params.task).resample, first, second)


def _metrics(project: Path, path: Path, stage: str) -> dict[str, Any]:
    if not (project / path).is_file():
        raise DataError(f"{path} is missing: the {stage} stage has not measured it; run `dvc repro compare`")
    content: dict[str, Any] = read_json(project / path)
    return content
