"""The gates' verdicts in a terminal, whether a run's or those that `alambique gate --explain` foretells."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from alambique import config, gates
from alambique.layout import REPORT
from alambique.messages import Check
from alambique.report import leaderboard

LOG_WIDTH = 160


def explain(project: Path, console: Console | None = None) -> None:
    """Judge the candidates of a project's report by its params.yaml, and print every verdict.

    Args:
        console: where to; by default standard output.
    Raises:
        DataError: there is no leaderboard yet.
        IntegrityError: another version wrote it.
        ConfigurationError: params.yaml is wrong.
    """
    board, params = leaderboard.load(project / REPORT / "leaderboard.json"), config.load(project)
    judged = gates.judge_all(board, params.gates)
    result = table(f"Gates of {board['project']}, as params.yaml asks for them")
    for each in judged:
        add(result, f"[bold]{each.candidate}[/]", "passed" if each.passed else "rejected", each.checks)
    console = console or Console()
    if not console.is_terminal:
        console.width = LOG_WIDTH  # a log has no width of its own
    console.print(result)
    console.print(f"{sum(each.passed for each in judged)} of {len(judged)} candidates pass every gate", highlight=False)


def table(title: str) -> Table:
    """Its head alone; `add` fills it."""
    result = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1))
    result.add_column("gate", no_wrap=True)
    for column in ("value", "bound", "difference, 95 %", "n"):
        result.add_column(column, justify="right", no_wrap=True)
    result.add_column("verdict")
    return result


def add(table: Table, heading: str, outcome: str, checks: Iterable[Check]) -> None:
    """A candidate's lines: its outcome, and one a check.

    Args:
        heading: rich's markup.
    """
    table.add_row(heading, "", "", "", "", f"[bold]{outcome}[/]")
    for check in checks:
        figures = (figure(check.value), figure(check.bound), interval(check), "" if check.n is None else str(check.n))
        verdict = f"[{'green' if check.passed else 'red'}]{check.reason}[/]"
        words = f": {escape(check.explanation)}" if check.explanation else ""
        table.add_row(f"  {escape(check.gate)}", *(escape(each) for each in figures), verdict + words)


def interval(check: Check) -> str:
    """Of the difference from the reference, in the metric's unit: [-0.0123, +0.0045]."""
    return "" if check.low is None or check.high is None else f"[{check.low:+.3g}, {check.high:+.3g}]"


def figure(value: float | None) -> str:
    """Four significant digits."""
    return "" if value is None else f"{value:.4g}"
