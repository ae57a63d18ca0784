"""Print each gate's verdict on each candidate in a terminal: a run's, or those that `alambique gate` computes now."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from alambique import config
from alambique.evaluation import gates, leaderboard
from alambique.layout import REPORT
from alambique.messages import Check, Decisions

LOG_WIDTH = 160
OUTCOMES = {True: "passed", False: "rejected"}


class Verdict(NamedTuple):
    """The gates' verdicts on one candidate.

    Attributes:
        heading: its line in the table, in rich's markup.
        outcome: passed, rejected or challenger.
    """

    candidate: str
    heading: str
    outcome: str
    checks: Sequence[Check]


def explain(project: Path, console: Console | None = None) -> None:
    """Judge the candidates of a project's report by its params.yaml, and print every verdict.

    Raises:
        DataError: there is no leaderboard yet.
        IntegrityError: another version wrote it.
        ConfigurationError: params.yaml is wrong.
    """
    board, params = leaderboard.load(project / REPORT / "leaderboard.json"), config.load(project)
    judged = gates.judge_all(board, gates.configured(params))
    console = console or _wide_console()
    verdicts = [
        Verdict(judgement.candidate, f"[bold]{judgement.candidate}[/]", OUTCOMES[judgement.passed], judgement.checks)
        for judgement in judged
    ]
    _show(f"Gates of {board['project']}, as params.yaml asks for them", verdicts, console)
    passed = sum(candidate.passed for candidate in judged)
    console.print(f"{passed} of {len(judged)} candidates pass every gate", highlight=False)


def show(decisions: Decisions, console: Console | None = None) -> None:
    """Print the verb `gate`'s decisions: every verdict, and which candidates are challengers."""
    verdicts = []
    for decision in decisions.decisions:
        version = decision.version
        outcome = "challenger" if version in decisions.challengers else OUTCOMES[decision.passed]
        heading = f"[bold]{version.candidate}[/] → {version.model} {version.version}"
        verdicts.append(Verdict(version.candidate, heading, outcome, decision.checks))
    _show(f"Gates of run {decisions.run_id}", verdicts, console or _wide_console())


def _wide_console() -> Console:
    """Standard output; of fixed width if it is not a terminal."""
    console = Console()
    return console if console.is_terminal else Console(width=LOG_WIDTH)


def _show(title: str, verdicts: Sequence[Verdict], console: Console) -> None:
    """Print one line a check, grouped by candidate, and below the reasons why candidates are rejected."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1))
    table.add_column("gate")  # shrinks first in a narrow terminal
    for column in ("value", "bound", "difference, 95 %", "n"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for verdict in verdicts:
        table.add_row(verdict.heading, "", "", "", "", f"[bold]{verdict.outcome}[/]")
        for check in verdict.checks:
            table.add_row(*_line(check))
    console.print(table)
    for verdict in verdicts:
        for check in verdict.checks:
            if not check.passed:
                message = f"{verdict.candidate} is rejected: {check.gate}: {check.explanation or check.reason}"
                console.print(message, highlight=False, markup=False)


def _line(check: Check) -> tuple[str, ...]:
    figures = (figure(check.value), figure(check.bound), interval(check), "" if check.n is None else str(check.n))
    reason = f"[{'green' if check.passed else 'red'}]{check.reason}[/]"
    return (f"  {escape(check.gate)}", *(escape(text) for text in figures), reason)


def interval(check: Check) -> str:
    """Confidence interval of the difference from the reference, in the metric's unit: [-0.0123, +0.0045]."""
    return "" if check.low is None or check.high is None else f"[{check.low:+.3g}, {check.high:+.3g}]"


def figure(value: float | None) -> str:
    """Four significant digits."""
    return "" if value is None else f"{value:.4g}"
