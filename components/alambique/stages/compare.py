"""Put every measured subject into one table, and on one page.

Reads   data/, evaluations/, metrics/
Writes  report/leaderboard.json, report/report.html
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alambique import config
from alambique.config import Params
from alambique.data.dataset import Dataset
from alambique.errors import DataError
from alambique.files import fresh_folder, read_json, write_json, write_text
from alambique.layout import DATA, METRICS, REPORT, evaluation_metrics, subjects
from alambique.report import leaderboard, page, pictures
from alambique.report.leaderboard import Leaderboard


def run(project: Path) -> None:
    """Write the leaderboard that gates read, and the report that people read.

    Raises:
        DataError: a subject was not evaluated, or nothing was benchmarked; the message names the missing file.
    """
    board = compare(project, config.load(project))
    with fresh_folder(project / REPORT) as target:
        write_json(target / "leaderboard.json", board)
        write_text(target / "report.html", page.render(board, pictures.choose(project, board)))


def compare(project: Path, params: Params) -> Leaderboard:
    """Join the metrics files; see `run`."""
    dataset = Dataset.load(project / DATA)
    return leaderboard.build(
        project=params.project,
        objective=params.promotion.objective,
        teachers=params.teachers,
        students=params.students,
        seeds=params.seeds,
        runtimes=params.runtimes,
        image_size=params.image_size,
        data=dataset.digest("test"),
        classes=dataset.classes,
        evaluations={
            subject.name: _metrics(project, evaluation_metrics(subject.name), "evaluate")
            for subject in subjects(params.teachers, params.students, params.seeds, params.runtimes)
        },
        benchmark=_metrics(project, METRICS / "benchmark.json", "benchmark"),
    )


def _metrics(project: Path, path: Path, stage: str) -> dict[str, Any]:
    if not (project / path).is_file():
        raise DataError(f"{path} is missing: the {stage} stage has not measured it; run `dvc repro compare`")
    content: dict[str, Any] = read_json(project / path)
    return content
