"""`alambique drift`: run the verb `drift` in a project's folder, and print its verdict."""

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
from alambique.drift.detect_drift import compare_newest
from alambique.files import read_json
from alambique.messages import DriftRequest
from alambique.report.terminal import WIDTH

NO_VERDICT = {
    "no_champion": "There is no champion yet to compare with: run the distill DAG, and promote a challenger",
    "too_few": "{n} readable images are too few for a verdict; `drift.min_images` of params.yaml says how many do",
}


def run(project: Path, console: Console | None = None) -> None:
    """Compare the newest production images, and print the verdict; raises as `detect_drift.drift`."""
    console = console or Console()
    if not console.is_terminal:
        console.width = WIDTH  # a pipe has no width of its own
    message, folder = compare_newest(DriftRequest(deployment=Deployment.load(project), by=getpass.getuser()))
    if folder is None:
        console.print(NO_VERDICT[message.verdict].format(n=message.n), highlight=False)
        return
    result = read_json(folder / verdict.RESULT)
    console.print(table(result))
    console.print(escape(verdict.sentence(result)), highlight=False)
    if joined := message.ingested:
        count = sum(joined.added.values())
        console.print(f"{count} of them joined the dataset without labels", highlight=False)
        console.print(f"Images to label first: {folder / verdict.TO_LABEL}", highlight=False, soft_wrap=True)
    console.print(f"Report: {message.report}", highlight=False, soft_wrap=True)


def table(result: dict[str, Any]) -> Table:
    """One line for each signal in `result`, the content of drift.json."""
    lines = Table(title=result["project"], title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1))
    for column in ("signal", "of", "test"):
        lines.add_column(column, no_wrap=True)
    for column in ("statistic", "p", "adjusted", "effect"):
        lines.add_column(column, justify="right", no_wrap=True)
    lines.add_column("verdict", no_wrap=True)
    for signal in result["signals"]:
        effect = "" if signal["effect"] is None else f"{signal['measure']} {signal['effect']:.3g}"
        figures = (f"{signal[name]:.3g}" for name in ("statistic", "p", "adjusted"))
        drifted = "[red]drifted[/]" if signal["drifted"] else ""
        lines.add_row(signal["name"], signal["source"], signal["test"], *figures, effect, drifted)
    return lines
