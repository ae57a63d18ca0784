"""The leaderboard, and each gate's verdict on each candidate, in a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from alambique import config
from alambique.evaluation import gates
from alambique.evaluation.leaderboard import Leaderboard, Row, columns, estimate, load
from alambique.layout import REPORT
from alambique.messages import Check, Decisions
from alambique.report import ceilings
from alambique.report.distillation import scope, sentences, teacher_notices
from alambique.report.figures import count, difference, figure, in_unit, number, signed

WIDTH = 100
LOG_WIDTH = 160
OUTCOMES = {True: "passed", False: "rejected"}


def print_leaderboard(leaderboard: Leaderboard, console: Console | None = None) -> None:
    """Print one line for each evaluation target, what distillation was worth, and teachers that are none."""
    console = console or Console()
    rows = table(leaderboard)
    if not console.is_terminal:  # a pipe has no width
        console.width = max(WIDTH, console.measure(rows, options=console.options.update(width=1000)).maximum)
    console.print(rows)
    for student in leaderboard["students"]:
        for sentence in sentences(leaderboard, student):
            console.print(escape(sentence), highlight=False)
    for notice in teacher_notices(leaderboard):
        console.print(escape(notice), style="yellow", highlight=False)
    console.print(scope(leaderboard), style="dim", highlight=False)
    for notice in ceilings.notices(leaderboard):
        console.print(escape(notice), highlight=False)
    for runtime, front in leaderboard["pareto"].items():
        console.print(f"Pareto front of {runtime}: {', '.join(front) or 'none'}", highlight=False)
    if best := leaderboard["best"]:
        console.print(f"Best by {leaderboard['objective']}, before any gate: [bold]{best}[/]", highlight=False)


def table(leaderboard: Leaderboard) -> Table:
    """The rows of targets that exist, in the order of the file."""
    title = f"{leaderboard['project']}: {leaderboard['images']} test {leaderboard['samples']}"
    result = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1))
    result.add_column("evaluated", no_wrap=True)
    head, *others = (leaderboard["measures"][name]["label"] for name in columns(leaderboard))
    for column in (head, "vs control", *others, "ms", "MB", "params", "MACs"):
        result.add_column(column, justify="right", no_wrap=True)
    for row in leaderboard["rows"]:
        if row["present"]:
            result.add_row(
                *_cells(row, leaderboard), style="bold green" if row["subject"] == leaderboard["best"] else None
            )
    return result


def _cells(row: Row, leaderboard: Leaderboard) -> tuple[str, ...]:
    names = columns(leaderboard)
    head, *others = (in_unit(row["metrics"][name], leaderboard["measures"][name]["unit"]) for name in names)
    return (
        row["subject"],
        head,
        signed(estimate(row["deltas"]["control"])) if row["student"] else "",
        *others,
        number(row["latency_p50_ms"]),
        number(row["size_mb"]),
        count(row["parameters"]),
        count(row["macs"]),
    )


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


def print_gates(project: Path, console: Console | None = None) -> None:
    """Judge the candidates of a project's report by its params.yaml, and print every verdict.

    Raises:
        DataError: there is no leaderboard yet.
        IntegrityError: another version wrote it.
        ConfigurationError: params.yaml is wrong.
    """
    board, params = load(project / REPORT / "leaderboard.json"), config.load(project)
    judged = gates.judge_all(board, gates.configured(params))
    console = console or _wide_console()
    verdicts = [
        Verdict(judgement.candidate, f"[bold]{judgement.candidate}[/]", OUTCOMES[judgement.passed], judgement.checks)
        for judgement in judged
    ]
    _print_verdicts(f"Gates of {board['project']}, as params.yaml asks for them", verdicts, console)
    passed = sum(candidate.passed for candidate in judged)
    console.print(f"{passed} of {len(judged)} candidates pass every gate", highlight=False)


def print_decisions(decisions: Decisions, console: Console | None = None) -> None:
    """Print the verb `gate`'s decisions: every verdict, and which candidates are challengers."""
    verdicts = []
    for decision in decisions.decisions:
        version = decision.version
        outcome = "challenger" if version in decisions.challengers else OUTCOMES[decision.passed]
        heading = f"[bold]{version.candidate}[/] → {version.model} {version.version}"
        verdicts.append(Verdict(version.candidate, heading, outcome, decision.checks))
    _print_verdicts(f"Gates of run {decisions.run_id}", verdicts, console or _wide_console())


def _wide_console() -> Console:
    """Standard output; of fixed width if it is not a terminal."""
    console = Console()
    return console if console.is_terminal else Console(width=LOG_WIDTH)


def _print_verdicts(title: str, verdicts: Sequence[Verdict], console: Console) -> None:
    """Print one line a check, grouped by candidate, and below the reasons why candidates are rejected."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1))
    table.add_column("gate")  # shrinks first in a narrow terminal
    for column in ("value", "bound", "difference, 95 %", "n"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for judged in verdicts:
        table.add_row(judged.heading, "", "", "", "", f"[bold]{judged.outcome}[/]")
        for check in judged.checks:
            table.add_row(*_line(check))
    console.print(table)
    for judged in verdicts:
        for check in judged.checks:
            if not check.passed:
                message = f"{judged.candidate} is rejected: {check.gate}: {check.explanation or check.reason}"
                console.print(message, highlight=False, markup=False)


def _line(check: Check) -> tuple[str, ...]:
    figures = (figure(check.value), figure(check.bound), difference(check), "" if check.n is None else str(check.n))
    reason = f"[{'green' if check.passed else 'red'}]{check.reason}[/]"
    return (f"  {escape(check.gate)}", *(escape(text) for text in figures), reason)
