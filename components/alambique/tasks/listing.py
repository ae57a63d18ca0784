"""`alambique tasks`: what each task supports, as its own class and parameters say."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table

from alambique import config, tasks


def table(console: Console | None = None) -> None:
    """Print one row a task.

    Args:
        console: where to; by default standard output.
    """
    shown = Table(box=box.SIMPLE_HEAD, padding=(0, 1))
    for column in ("task", "students", "headline", "methods", "runtimes", "int8", "also"):
        shown.add_column(column)
    for name, params in config.TASKS.items():
        task = tasks.load(name)
        shown.add_row(
            f"[bold]{name}[/]",
            task.about,
            task.measures[params.HEADLINE].label,
            ", ".join(task.methods),
            ", ".join(params.RUNTIMES),
            ", ".join(params.INT8),
            ", ".join(sorted(task.abilities)),
        )
    (console or Console()).print(shown)
