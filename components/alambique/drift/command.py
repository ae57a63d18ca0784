"""`alambique drift`: a project's production images judged by hand, and the verdict in the terminal."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from alambique.config.deployment import Deployment
from alambique.drift import verdict
from alambique.drift.detect_drift import look
from alambique.files import read_json
from alambique.messages import DriftRequest
from alambique.report.terminal import WIDTH

NO_VERDICT = {
    "no_champion": "There is no champion yet to compare with: run the distill DAG, and promote a challenger",
    "too_few": "{n} readable images are too few for a verdict; `drift.min_images` of params.yaml says how many do",
}


def run(project: Path, console: Console | None = None) -> None:
    """Judge, and print what came out.

    Args:
        console: where to; by default standard output.
    Raises:
        as `alambique.drift.detect_drift.drift`.
    """
    console = console or Console()
    if not console.is_terminal:
        console.width = WIDTH  # a pipe has no width of its own
    answer, folder = look(DriftRequest(deployment=Deployment.load(project), by=getpass.getuser()))
    if folder is None:
        console.print(NO_VERDICT[answer.verdict].format(n=answer.n), highlight=False)
        return
    found = read_json(folder / verdict.RESULT)
    console.print(table(found))
    console.print(escape(verdict.sentence(found)), highlight=False)
    if joined := answer.ingested:
        count = sum(joined.added.values())
        console.print(f"{count} of them joined the dataset without labels", highlight=False)
        console.print(f"Most worth a label: {folder / verdict.TO_LABEL}", highlight=False, soft_wrap=True)
    console.print(f"Report: {answer.report}", highlight=False, soft_wrap=True)


def table(found: dict[str, Any]) -> Table:
    """One line a signal.

    Args:
        found: the content of drift.json.
    """
    result = Table(title=found["project"], title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1))
    for column in ("signal", "of", "test"):
        result.add_column(column, no_wrap=True)
    for column in ("statistic", "p", "adjusted", "effect"):
        result.add_column(column, justify="right", no_wrap=True)
    result.add_column("verdict", no_wrap=True)
    for signal in found["signals"]:
        effect = "" if signal["effect"] is None else f"{signal['measure']} {signal['effect']:.3g}"
        figures = (f"{signal[name]:.3g}" for name in ("statistic", "p", "adjusted"))
        drifted = "[red]drifted[/]" if signal["drifted"] else ""
        result.add_row(signal["name"], signal["source"], signal["test"], *figures, effect, drifted)
    return result
