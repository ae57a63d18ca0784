"""The gate's verdicts, for people."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from alambique.messages import Check, Decisions


def explain(decisions: Decisions) -> Table:
    """One line a check, grouped by candidate; the challengers stand out."""
    table = Table(title=f"Gates of run {decisions.run_id}", title_justify="left")
    for column in ("candidate", "model", "gate", "value", "bound", "verdict"):
        table.add_column(column, justify="right" if column in {"value", "bound"} else "left")
    for decision in decisions.decisions:
        version = decision.version
        chosen = version in decisions.challengers
        name = f"[bold]{version.candidate}[/] (challenger)" if chosen else version.candidate
        for index, check in enumerate(decision.checks):
            head = (name, f"{version.model} {version.version}") if index == 0 else ("", "")
            table.add_row(*head, check.gate, _figure(check.value), _figure(check.bound), _verdict(check))
        table.add_section()
    return table


def show(decisions: Decisions) -> None:
    """Print the table; wide enough for a log, which has no width of its own."""
    console = Console()
    (console if console.is_terminal else Console(width=140)).print(explain(decisions))


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _verdict(check: Check) -> str:
    return f"[{'green' if check.passed else 'red'}]{check.reason}[/]"
