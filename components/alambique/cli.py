"""The command line: what people type, what dvc.yaml runs, and the verbs that Airflow's side calls."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from alambique import messages
from alambique.errors import AlambiqueError, write_error

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
graph = typer.Typer(no_args_is_help=True, help="The committed, expanded graph of dvc.yaml.")
app.add_typer(graph, name="graph")


@app.callback()
def main() -> None:
    """Distill, compress and promote edge-ready students from a DVC-versioned dataset."""


def _guarded(work: Callable[[], Any]) -> Any:
    """Turn errors raised on purpose into one line and their exit code; leave every error for the waiting parent."""
    try:
        return work()
    except AlambiqueError as error:
        write_error(error)
        typer.secho(f"{type(error).__name__}: {error}", fg="red", err=True)
        raise typer.Exit(error.exit_code) from None
    except Exception as error:
        write_error(error)
        raise


@app.command()
def stage(name: str, arguments: Annotated[list[str] | None, typer.Argument()] = None) -> None:
    """Run one stage of dvc.yaml in the current folder."""
    from alambique.stages.command import run

    _guarded(lambda: run(Path.cwd(), name, *(arguments or ())))
