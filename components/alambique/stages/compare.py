"""Put every measured subject into one table, and on one page.

Reads   data/, search/, evaluations/, metrics/
Writes  report/leaderboard.json, report/report.html
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from itertools import permutations, product
from pathlib import Path
from typing import Any

from alambique import config, tasks
from alambique.config import Params
from alambique.errors import DataError
from alambique.evaluation import build, gain_parts, gates, paired_bootstrap
from alambique.evaluation.leaderboard import Leaderboard
from alambique.evaluation.measures import Interval
from alambique.files import fresh_folder, read_json, write_json, write_text
from alambique.layout import (
    DATA,
    METRICS,
    REPORT,
    EvaluationTarget,
    Seeded,
    evaluation,
    evaluation_metrics,
    evaluation_targets,
)
from alambique.report import ceilings, distillation, page, search

logger = logging.getLogger(__name__)


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
    for student in board["students"]:
        for sentence in distillation.sentences(board, student):
            logger.info("%s", sentence)
    for notice in distillation.teacher_notices(board):
        logger.warning("%s", notice)


def compare(project: Path, params: Params) -> Leaderboard:
    """Join the metrics files; see `run`."""
    task = tasks.load(params.task)
    dataset = task.dataset(project / DATA)
    data = dataset.digest("test")
    evaluations = {
        subject.name: _metrics(project, evaluation_metrics(subject.name), "evaluate")
        for subject in evaluation_targets(
            params.teachers, params.students, params.seeds, params.runtimes, params.int8, params.ablations
        )
    }
    today = {
        name: project / evaluation(name)
        for name, metrics in evaluations.items()
        if metrics.get(params.HEADLINE) is not None and metrics.get("data") == data
    }
    with_production = [name for name, metrics in evaluations.items() if metrics.get("field")]
    teachers = [name for name in evaluations if EvaluationTarget.parse(name).kind == "teacher"]
    resample = paired_bootstrap.once(task.resample, list(today.values())) if today else task.resample

    def seeded(student: str, kind: Seeded) -> list[str]:
        return [f"{student}-{kind}-{seed}" for seed in params.seeds]

    def difference(first: Sequence[str], second: Sequence[str]) -> Interval | None:
        """`first` − `second` over every seed; None if one of them is not among today's evaluations."""
        if not {*first, *second} <= today.keys():
            return None
        return paired_bootstrap.gain(resample, [today[name] for name in first], [today[name] for name in second])

    unlabelled = f"unlabelled {task.samples}" if dataset.size("unlabelled") else None
    board = build.leaderboard(
        params,
        headline=params.HEADLINE,
        samples=task.samples,
        measures=task.measures,
        by_class=task.by_class,
        data=data,
        classes=dataset.classes,
        evaluations=evaluations,
        gains={
            student: difference(seeded(student, "distilled"), seeded(student, "control")) for student in params.students
        },
        parts={
            student: {
                of: difference(seeded(student, kind), seeded(student, before))
                for of, kind, before in gain_parts.parts(params, student, unlabelled)
            }
            for student in params.students
        },
        advantages={
            student: {teacher: difference([teacher], seeded(student, "control")) for teacher in teachers}
            for student in params.students
        },
        intervals=paired_bootstrap.intervals(resample, today, list(permutations(today, 2))),
        benchmark=_metrics(project, METRICS / "benchmark.json", "benchmark"),
        agreements={
            (name, teacher): task.agreement(project / evaluation(name), project / evaluation(teacher), params)
            for name, teacher in product(with_production, teachers)
            if teacher in with_production
        },
    )
    board["still_improving"] = ceilings.still_improving(project, params)
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


def _metrics(project: Path, path: Path, stage: str) -> dict[str, Any]:
    if not (project / path).is_file():
        raise DataError(f"{path} is missing: the {stage} stage has not measured it; run `dvc repro compare`")
    content: dict[str, Any] = read_json(project / path)
    return content
