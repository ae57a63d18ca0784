"""The page *Champions* in Airflow's UI. Every Airflow process loads this module, so it imports next to nothing."""

from __future__ import annotations

from typing import Any

from airflow.plugins_manager import AirflowPlugin

PREFIX = "/alambique"


class AlambiquePlugin(AirflowPlugin):
    """Adds the page; only the API server asks for it, and then loads FastAPI's side of it."""

    name = "alambique"
    # The link is relative to the UI's base URL, which may have a path.
    external_views = [  # noqa: RUF012  Airflow declares it so
        {"name": "Champions", "href": f"{PREFIX[1:]}/champions", "destination": "nav", "url_route": "champions"}
    ]

    @property
    def fastapi_apps(self) -> list[Any]:  # type: ignore[override]
        from alambique.airflow.plugin.champions import app

        return [{"name": "Alambique", "app": app, "url_prefix": PREFIX}]
