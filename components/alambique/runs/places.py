"""Where a new project is to live: its folder, origin, DVC remote and MLflow, refused before anything is written."""

from __future__ import annotations

import os
from pathlib import Path

from alambique.config.deployment import FOR_GIT, FOR_MLFLOW, refuse_credentials
from alambique.errors import AlambiqueError, ConfigurationError, FileError, TransientError
from alambique.git import git
from alambique.registry.client import artifact_root

MLFLOW = "MLFLOW_TRACKING_URI"
UNUSABLE = "?{}"
"""The first begins the options in a database's URL, such as MLflow's; DVC takes the others for fields to fill in."""
FOR_DVC = "give them to `dvc remote modify --local storage` (user, password, access_key_id, …) once the project exists"


def require_folder(target: Path) -> None:
    """Refuse a project's folder that has content, or a path that a library on its way would take for another.

    Raises:
        ConfigurationError: see above.
        FileError: something on the path is a file.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ConfigurationError(f"{target} exists and is not an empty folder; choose another, or remove it")
    nearest = next(parent for parent in target.parents if parent.exists())
    if not nearest.is_dir():
        raise FileError(f"{nearest} is a file, so {target} cannot be a folder in it; choose another")
    if wrong := [character for character in str(target) if character in UNUSABLE or not character.isprintable()]:
        raise ConfigurationError(
            f"{str(target)!r} has {' and '.join(map(repr, dict.fromkeys(wrong)))} in it, which MLflow's database or "
            "DVC does not take in a path; choose another folder"
        )


def origin(given: str | None) -> str | None:
    """The git URL of an empty repository, absolute where it is a path.

    Raises:
        ConfigurationError: it holds credentials, does not exist, or has commits.
        TransientError: it is out of reach.
    """
    if given is None:
        return None
    url = _absolute(_without_credentials("--origin", given, FOR_GIT))
    try:
        refs = git("ls-remote", "--", url)
    except TransientError:
        raise
    except AlambiqueError as error:
        raise ConfigurationError(f"--origin: {error}; make an empty repository there first") from None
    if refs:
        raise ConfigurationError(
            f"--origin: {url} is not empty: it has {refs.split()[1]}; a project begins with its own first commit, so "
            "give an empty repository, or clone this one if it is the project"
        )
    return url


def remote(given: str | None) -> str | None:
    """The URL of a DVC remote, absolute where it is a path.

    Raises:
        ConfigurationError: it holds credentials, or DVC has no plugin for it here.
    """
    if given is None:
        return None
    url = _without_credentials("--remote", given, FOR_DVC)
    if "://" not in url:
        return _absolute(url)
    _require_plugin(url.partition("://")[0])
    return url


def tracking_uri() -> str | None:
    """The MLflow that the environment names, if any.

    Raises:
        ConfigurationError: its URI holds credentials, or is neither a server's nor a database's.
    """
    if not (uri := os.environ.get(MLFLOW)):
        return None
    _without_credentials(MLFLOW, uri, FOR_MLFLOW)
    try:
        artifact_root(uri)
    except ConfigurationError as error:
        raise ConfigurationError(f"{MLFLOW}: {error}") from None
    return uri


def _without_credentials(name: str, url: str, remedy: str) -> str:
    try:
        return refuse_credentials(url, remedy)
    except ValueError as error:
        raise ConfigurationError(f"{name}: {error}") from None


def _absolute(url: str) -> str:
    """A path on this machine as a clone elsewhere on it can use it; any other URL unchanged."""
    path = Path(url).expanduser()
    is_path = "://" not in url and (path.exists() or ":" not in url)
    return str(path.resolve()) if is_path else url


def _require_plugin(scheme: str) -> None:
    """Refuse a scheme of DVC remotes whose plugin is missing: DVC would say so after it has read the dataset."""
    from dvc_objects.fs import registry

    if scheme not in registry:
        known = ", ".join(f"{name}://" for name in sorted(registry) if name not in {"local", "memory"})
        raise ConfigurationError(f"--remote: DVC has no remotes of {scheme}://; it has folders, {known}")
    try:
        missing = registry[scheme].get_missing_deps()
    except ImportError:
        missing = [f"dvc-{scheme}"]
    if missing:
        extra = {"webdavs": "webdav", "https": "http"}.get(scheme, scheme)
        raise ConfigurationError(
            f'--remote: {scheme}:// needs {", ".join(missing)}; run `pip install "dvc[{extra}]"` here and wherever '
            "stages run"
        )
