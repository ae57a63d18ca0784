"""Who is champion, as a page: it reads the ledgers from each project's origin, and needs git alone.

The projects are the folders in `[alambique] projects` of Airflow's configuration (AIRFLOW__ALAMBIQUE__PROJECTS),
separated by colons; without it, the folder that holds Airflow's dags folder.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from html import escape
from pathlib import Path

from airflow.api_fastapi.auth.managers.models.resource_details import AccessView
from airflow.api_fastapi.core_api.security import requires_access_view
from airflow.sdk import conf
from fastapi import Depends, FastAPI
from fastapi.responses import HTMLResponse

from alambique.airflow.project import Project
from alambique.errors import AlambiqueError
from alambique.registry.ledger import Entry, Ledger

HEAD = ("project", "model", "champion", "since run", "decided by", "at", "why", "previous")
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Champions</title>
<style>
:root {{ color-scheme: light dark }} body {{ font: 14px system-ui, sans-serif; margin: 2em }}
table {{ border-collapse: collapse }} th, td {{ text-align: left; padding: .4em 1.2em .4em 0 }}
tr {{ border-bottom: 1px solid #8884 }} td {{ font-variant-numeric: tabular-nums }}
</style>
<h1>Champions</h1><table><thead>{head}</thead><tbody>{rows}</tbody></table></html>"""

app = FastAPI(title="Alambique", docs_url=None, redoc_url=None, openapi_url=None)


# Airflow mounts a plugin's pages without its own checks.
@app.get("/champions", dependencies=[Depends(requires_access_view(AccessView.PLUGINS))])
def champions() -> HTMLResponse:
    """Champion and previous champion of every model of every project."""
    rows = (_row("td", cells) for root in projects() for cells in _project(root))
    return HTMLResponse(PAGE.format(head=_row("th", HEAD), rows="".join(rows)))


def projects() -> list[Path]:
    """The roots of the projects whose champions are shown."""
    configured = conf.get("alambique", "projects", fallback="")
    if configured:
        return [Path(root) for root in configured.split(os.pathsep)]
    return [Path(conf.get("core", "dags_folder")).parent]


def _project(root: Path) -> Iterator[tuple[str, ...]]:
    """A row of cells for each model; a project or ledger that cannot be read says so in its row."""
    try:
        project = Project.load(root)
        for model in project.models:
            state = Ledger(project.deployment.origin, model).read()
            if state is None:
                yield project.name, model, "none yet"
            else:
                champion = state.champion
                yield (
                    project.name,
                    model,
                    _version(champion),
                    champion.tag,
                    champion.by,
                    (state.at or "")[:16].replace("T", " "),
                    champion.why,
                    _version(state.previous) if state.previous else "none",
                )
    except AlambiqueError as error:
        yield str(root), f"{type(error).__name__}: {error}"


def _version(entry: Entry) -> str:
    return f"{entry.candidate}, version {entry.version}"


def _row(tag: str, cells: tuple[str, ...]) -> str:
    return f"<tr>{''.join(f'<{tag}>{escape(cell)}</{tag}>' for cell in cells)}</tr>"
