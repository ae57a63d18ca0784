from __future__ import annotations

import io

from rich.console import Console

from alambique import config, tasks
from alambique.tasks.listing import show


def test_every_task_says_what_it_supports() -> None:
    output = io.StringIO()
    show(Console(file=output, width=100))
    said = output.getvalue()
    for name, params in config.TASKS.items():
        task = tasks.load(name)
        assert f"{name} " in said
        for words in (task.measures[params.HEADLINE].label, ", ".join(task.methods), ", ".join(params.INT8)):
            assert words in said
