"""The gate's verdicts, for people."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table

from alambique.messages import Check, Decisions


def explain(decisions: Decisions) -> Table:
    """One line a check, grouped by candidate; the challengers stand out."""
    table = Table(title=f"Gates of run {decisions.run_id}", title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1))
    table.add_column("gate", no_wrap=True)
    for column in ("value", "bound"):
        table.add_column(column, justify="right")
    table.add_column("verdict")
    for decision in decisions.decisions:
        version = decision.version
        name = f"[bold]{version.candidate}[/] → {version.model} {version.version}"
        outcome = "challenger" if version in decisions.challengers else "passed" if decision.passed else "rejected"
        table.add_row(name, "", "", f"[bold]{outcome}[/]")
        for check in decision.checks:
            table.add_row(f"  {check.gate}", _figure(check.value), _figure(check.bound), _verdict(check))
    return table


def show(decisions: Decisions) -> None:
    """Print the table; wide enough for a log, which has no width of its own."""
    console = Console()
    (console if console.is_terminal else Console(width=140)).print(explain(decisions))


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _verdict(check: Check) -> str:
    return f"[{'green' if check.passed else 'red'}]{check.reason}[/]"
