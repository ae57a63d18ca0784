"""Connections to MLflow: artifact location, timeouts, and MLflow's failures as Alambique's errors."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from alambique.errors import ConfigurationError, TransientError

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger(__name__)

SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # With the defaults (7 retries of 120 s) a dead server blocks a training for a quarter of an hour.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}
RETRYABLE = {"INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED", "DEADLINE_EXCEEDED"}
"""MLflow's error codes after which the same request may succeed."""


def connect(tracking_uri: str) -> MlflowClient:
    """A client of this server or database, or a ConfigurationError if it is neither; MLflow's global URI stays."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    artifact_root(tracking_uri)
    from mlflow import MlflowClient

    with reachable(tracking_uri):
        return MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)


def artifact_root(tracking_uri: str) -> str | None:
    """URI of the artifact folder: beside a SQLite file; None with a server, which has its own.

    MLflow's default is the creator's working folder: here a workspace that is deleted.
    """
    scheme = urlsplit(tracking_uri).scheme
    if scheme in {"http", "https"}:
        return None
    if scheme.split("+")[0] == "sqlite" and ":///" in tracking_uri:
        database = tracking_uri.partition(":///")[2].partition("?")[0]
        return (Path(database).resolve().parent / "mlartifacts").as_uri()
    raise ConfigurationError(
        f"tracking_uri has the scheme {scheme!r}; give an MLflow server (https://…) or a database (sqlite:////path.db)"
    )


@contextmanager
def reachable(tracking_uri: str) -> Iterator[None]:
    """Raise MLflow's failures as Alambique's errors, by whether a retry can help.

    Raises:
        TransientError: the server or the database did not answer.
        ConfigurationError: it refused the request.
    """
    from mlflow.exceptions import MlflowException

    place = tracking_uri.partition("?")[0]
    try:
        yield
    except MlflowException as error:
        if error.error_code in RETRYABLE:
            raise TransientError(f"MLflow at {place} failed: {error}; is it running?") from error
        raise ConfigurationError(f"MLflow at {place} refused: {error}") from error
    except OSError as error:
        raise TransientError(f"MLflow at {place} is out of reach: {error}") from error


@contextmanager
def global_uri(tracking_uri: str) -> Iterator[None]:
    """Set MLflow's global URI for the block: its SQL store looks logged models up through it."""
    import mlflow

    before = mlflow.get_tracking_uri() if mlflow.is_tracking_uri_set() else None
    mlflow.set_tracking_uri(tracking_uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(before)


@contextmanager
def forgiving(what: str) -> Iterator[None]:
    """Log any exception of the block as a warning: a failure to track must not fail a training."""
    try:
        yield
    except Exception as error:
        log.warning("could not %s in MLflow, going on without: %s", what, error)
