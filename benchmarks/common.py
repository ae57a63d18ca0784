"""What every benchmark shares: rows with a goal, the machine, a table for people and a file for the README.

A full run writes benchmarks/results/NAME.json, which is committed. `--quick` runs the same code in under two minutes
and writes to benchmarks/results/quick/, which git ignores: its figures say that the code works, and no more.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
import typer
from rich import box
from rich.console import Console
from rich.table import Table

import alambique
from alambique import config
from alambique.config.detect import Params
from alambique.errors import AlambiqueError
from alambique.files import read_json, sha256, write_json
from alambique.git import git
from alambique.process.timing import cpu
from alambique.runs.new_project import template_dir

HERE = Path(__file__).parent
RESULTS = HERE / "results"
RUNS = HERE / ".runs"
"""What an interrupted run has measured so far; ignored by git."""

PACKAGES = ("alambique", "numpy", "pyarrow", "torch", "ultralytics")
WIDTH = 110


@dataclass(frozen=True)
class Row:
    """One measured figure.

    Attributes:
        id: as the README names it.
        value: the median, or the estimate.
        low, high: the quartiles, or the ends of the estimate's 95 % interval.
        n: over how many measurements.
        goal: what was hoped for, as in "≤ 1.10" or "≥ 6, low > 0"; None: published whatever it is.
        details: what else belongs to the figure.
    """

    id: str
    value: float
    low: float
    high: float
    n: int
    goal: str | None = None
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def met(self) -> bool | None:
        """Whether the goal is reached; None without one."""
        return None if self.goal is None else all(self._holds(clause) for clause in self.goal.split(", "))

    def _holds(self, clause: str) -> bool:
        match = re.fullmatch(r"(?:(low|high) )?([≤≥<>]) (\S+)", clause)
        if match is None:
            raise ValueError(f"{clause!r} is no goal: [low or high] ≤, ≥, < or >, then a number, as in '≥ 6'")
        found, bound = getattr(self, match[1] or "value"), float(match[3])
        return bool({"≤": found <= bound, "≥": found >= bound, "<": found < bound, ">": found > bound}[match[2]])


def median(id: str, values: Sequence[float], goal: str | None = None, **details: Any) -> Row:
    """The row of some repeated measurements: their median, and their quartiles as its spread."""
    low, middle, high = np.percentile(values, [25, 50, 75])
    return Row(id, float(middle), float(low), float(high), len(values), goal, details)


def publish(name: str, rows: Sequence[Row], *, quick: bool, threads: int, **details: Any) -> Path:
    """Print the rows as a table and write them to the benchmark's file.

    Args:
        name: of the benchmark.
        rows: what it measured.
        quick: whether the figures only say that the code works.
        threads: that each measurement ran on.
        details: further sections of the file.
    """
    content = {
        "machine": machine(threads),
        "commit": commit(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {"python": platform.python_version(), **{package: version(package) for package in PACKAGES}},
        "quick": quick,
        "rows": [{key: value for key, value in asdict(row).items() if (key, value) != ("details", {})} for row in rows],
        **details,
    }
    path = (RESULTS / "quick" if quick else RESULTS) / f"{name}.json"
    write_json(path, content)
    _print(name, rows, quick, path)
    return path


def machine(threads: int) -> dict[str, Any]:
    """The processor, how much of it may be used and how much was, the memory, and the GPU if there is one."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "cpu": cpu(),
        "cores": len(os.sched_getaffinity(0)),
        "threads": threads,
        "ram_gib": round(memory / 2**30, 1),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "system": platform.platform(terse=True),
    }


def commit() -> str:
    """The checkout's commit; "-dirty" follows where files other than earlier results differ from it."""
    changes = git("status", "--porcelain", "--", ":/", ":!/benchmarks/results", cwd=HERE)
    return git("rev-parse", "HEAD", cwd=HERE) + ("-dirty" if changes else "")


def params(**changes: Any) -> Params:
    """The repository's params.yaml, with the given keys of its sections replaced."""
    content = config.read_yaml(template_dir() / "params.yaml")
    for key, value in changes.items():
        content[key] = {**content[key], **value} if isinstance(value, dict) else value
    return Params.model_validate_json(json.dumps(content), strict=True)


def state(name: str, **setting: Any) -> Path:
    """The folder that keeps what a run has measured so far; another setting, or other code, has another folder.

    Args:
        name: of the benchmark.
        setting: what the results depend on, besides the code that trains.
    """
    package = Path(alambique.__file__).parent
    sources = sorted(path for part in ("data", "softlabels", "tasks") for path in (package / part).rglob("*.py"))
    content = [setting, [sha256(path) for path in (*sources, template_dir() / "params.yaml")]]
    digest = hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()
    return RUNS / name / digest[:12]


def kept(path: Path, work: Callable[[], Any]) -> Any:
    """The result of `work`: from the JSON file `path`, if an interrupted run came so far, or else measured now."""
    if not path.exists():
        write_json(path, work())
    return read_json(path)


def run(main: Callable[..., None]) -> None:
    """Run a benchmark's `main` as a command; an error raised on purpose becomes one line."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    try:
        app()
    except AlambiqueError as error:
        sys.exit(f"{type(error).__name__}: {error}")


def tell(line: str) -> None:
    """Say how far a long run is."""
    Console(stderr=True).print(line, highlight=False, soft_wrap=True)


def _print(name: str, rows: Sequence[Row], quick: bool, path: Path) -> None:
    console = Console()
    if not console.is_terminal:
        console.width = WIDTH  # a log has no width of its own
    title = f"{name} (quick: these figures mean nothing)" if quick else name
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("row", no_wrap=True)
    for column in ("value", "low", "high", "n", "goal", "reached"):
        table.add_column(column, justify="right", no_wrap=True)
    words = {True: "yes", False: "no", None: ""}
    for row in rows:
        figures = (f"{value:.4g}" for value in (row.value, row.low, row.high))
        table.add_row(row.id, *figures, str(row.n), row.goal or "", words[row.met])
    console.print(table)
    console.print(f"Written to {path}", highlight=False)
