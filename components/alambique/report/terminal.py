"""The leaderboard in a terminal."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from alambique.evaluation.leaderboard import Leaderboard, Row, columns, estimate
from alambique.report.figures import count, in_unit, number, scope, signed, verdict

WIDTH = 100


def print_leaderboard(leaderboard: Leaderboard, console: Console | None = None) -> None:
    """Print one line for each evaluation target, and a sentence about distillation."""
    console = console or Console()
    rows = table(leaderboard)
    if not console.is_terminal:  # a pipe has no width
        console.width = max(WIDTH, console.measure(rows, options=console.options.update(width=1000)).maximum)
    console.print(rows)
    label, samples = leaderboard["measures"][leaderboard["headline"]]["label"], leaderboard["samples"]
    for student in leaderboard["students"]:
        console.print(escape(verdict(student, leaderboard["distillation_gain"][student], label)), highlight=False)
    console.print(scope(len(leaderboard["seeds"]), leaderboard["images"], samples), style="dim", highlight=False)
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
