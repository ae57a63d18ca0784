"""The script beside an artifact that shows its use, with nothing but its runtime, NumPy, and what reads its input.

`<runtime>.py.j2` opens the artifact and defines `run`, from arrays to all outputs. A task brings two fragments:
`<task>.inputs.py.j2` turns the argument into arrays, and `<task>.outputs.py.j2` runs them and prints the result.
They also set what stands at the script's top: `imports` and `needs` (pip's names) in the former, with the `argument`
that it takes, and the script's `purpose` in the latter.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined


def render(runtime: str, fragments: Path, **values: Any) -> str:
    """An example of a task's artifact on a runtime.

    Args:
        fragments: path of the task's fragments without their ends, as `folder/detect`; they can include and extend
            others of their folder.
    """
    environment = Environment(  # noqa: S701 - what is rendered is Python
        loader=FileSystemLoader([Path(__file__).parent, fragments.parent]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["in_order"] = _in_order
    template = environment.get_template(f"{runtime}.py.j2")
    return template.render(runtime=runtime, task=fragments.name, **values)


def _in_order(imports: Iterable[str]) -> list[str]:
    """Import statements as isort orders a section."""
    return sorted(set(imports), key=lambda line: (line.startswith("from"), line.lower()))
