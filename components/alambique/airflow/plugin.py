"""The page *Champions* in Airflow's UI. Every Airflow process loads this module, so it imports next to nothing."""

from __future__ import annotations

from typing import Any

from airflow.plugins_manager import AirflowPlugin

PREFIX = "/alambique"


class AlambiquePlugin(AirflowPlugin):
    """Adds the page; only the API server asks for it, and then loads FastAPI's side of it."""

    name = "alambique"
    external_views = [  # noqa: RUF012  Airflow declares it so
        {"name": "Champions", "href": f"{PREFIX}/champions", "destination": "nav", "url_route": "champions"}
    ]

    @property
    def fastapi_apps(self) -> list[Any]:  # type: ignore[override]
        from alambique.airflow.champions import app

        return [{"name": "Alambique", "app": app, "url_prefix": PREFIX}]
