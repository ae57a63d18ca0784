"""`alambique tasks`: what each task supports, as its own class and parameters say."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from alambique import config, tasks


def show(console: Console | None = None) -> None:
    """Print a paragraph a task."""
    table = Table.grid(padding=(0, 2))
    for name, params in config.TASKS.items():
        task = tasks.load(name)
        facts = {
            "gated by": task.measures[params.HEADLINE].label,
            "distilled by": ", ".join(task.methods),
            "runs on": ", ".join(params.RUNTIMES),
            "in INT8 on": ", ".join(params.INT8),
            "has also": ", ".join(sorted(task.abilities)) or "–",
        }
        table.add_row(f"[bold]{name}[/]", task.about)
        for title, words in facts.items():
            table.add_row(f"  {title}", words)
    (console or Console()).print(table, highlight=False)
