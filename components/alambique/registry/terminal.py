"""Print the verb `gate`'s decisions in a terminal: which candidate becomes challenger; `report.checks` prints why."""

from __future__ import annotations

from rich.console import Console

from alambique.messages import Decisions
from alambique.report import checks
from alambique.report.checks import Verdict


def show(decisions: Decisions, console: Console | None = None) -> None:
    """Print every verdict, and which candidates are challengers.

    Args:
        console: where to; by default standard output.
    """
    verdicts = []
    for decision in decisions.decisions:
        version = decision.version
        outcome = "challenger" if version in decisions.challengers else "passed" if decision.passed else "rejected"
        heading = f"[bold]{version.candidate}[/] → {version.model} {version.version}"
        verdicts.append(Verdict(version.candidate, heading, outcome, decision.checks))
    checks.show(f"Gates of run {decisions.run_id}", verdicts, console or checks.wide_console())
