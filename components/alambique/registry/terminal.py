"""The gate's verdicts, for people."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from alambique.messages import Decisions
from alambique.report import checks


def explain(decisions: Decisions) -> Table:
    """One line a check, grouped by candidate; the challengers stand out."""
    table = checks.table(f"Gates of run {decisions.run_id}")
    for decision in decisions.decisions:
        version = decision.version
        outcome = "challenger" if version in decisions.challengers else "passed" if decision.passed else "rejected"
        checks.add(table, f"[bold]{version.candidate}[/] → {version.model} {version.version}", outcome, decision.checks)
    return table


def show(decisions: Decisions) -> None:
    """Print the table; wide enough for a log, which has no width of its own."""
    console = Console()
    (console if console.is_terminal else Console(width=checks.LOG_WIDTH)).print(explain(decisions))
