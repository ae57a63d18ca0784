"""Download weights by their URI: a file, S3, HTTPS, MLflow's registry, an Ultralytics asset, a Hugging Face folder."""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path

from alambique.config.deployment import FOR_S3
from alambique.data import store
from alambique.errors import ConfigurationError, DataError, TransientError
from alambique.registry.client import connect, reachable
from alambique.runs import https, huggingface
from alambique.urls import holds_credentials, without_credentials

MODEL = re.compile(r"models:/(?P<name>[^/@]+)(?:/(?P<version>\d+)|@(?P<alias>[^/@]+))")
ASSET = re.compile(r"[\w.-]+\.pt")


def fetch(uri: str, target: Path, tracking_uri: str | None = None) -> None:
    """Copy the weights behind `uri` to the file `target`, or to the folder, if they are one.

    Args:
        uri: an absolute path (or ~/…), s3://bucket/key, https://…, models:/name/version, models:/name@alias, the name
            of an Ultralytics asset such as yolo26n.pt, or a folder: see `huggingface`.
        target: in an existing folder.
        tracking_uri: the MLflow of models:/.
    Raises:
        ConfigurationError: `uri` is none of these.
        DataError: there is nothing there.
        TransientError: the service is out of reach.
    """
    if huggingface.is_folder(uri):
        huggingface.fetch(uri, target)
    elif uri.startswith(store.S3):
        store.download(uri, target)
    elif uri.startswith(https.SCHEME):
        https.download(uri, target)
    elif uri.startswith("models:/"):
        _model(pin_revision(uri, tracking_uri), target, tracking_uri)
    elif ASSET.fullmatch(uri):
        _asset(uri, target)
    else:
        _file(uri, target)


def pin_revision(uri: str, tracking_uri: str | None) -> str:
    """`uri` with an alias or revision replaced by its present version; any other unchanged.

    Raises:
        ConfigurationError: models:/ is misspelt, names what does not exist, or there is no MLflow.
        TransientError: MLflow is out of reach.
    """
    if holds_credentials(uri):
        raise ConfigurationError("weights: a URI with credentials inside would reach logs and git; " + FOR_S3)
    if not uri.startswith("models:/"):
        return huggingface.pin_revision(uri)
    if not (match := MODEL.fullmatch(uri)):
        raise ConfigurationError(f"{uri!r} is neither models:/name/version nor models:/name@alias")
    if tracking_uri is None:
        raise ConfigurationError(f"{uri} needs an MLflow: set tracking_uri in alambique.yaml")
    if (alias := match["alias"]) is None:
        return uri
    client = connect(tracking_uri)
    with reachable(tracking_uri):
        version = client.get_model_version_by_alias(match["name"], alias).version
    return f"models:/{match['name']}/{version}"


def immutable(uri: str) -> bool:
    """Whether the bytes behind a pinned `uri` never change: released assets and registered versions."""
    return uri.startswith("models:/") or ASSET.fullmatch(uri) is not None or huggingface.immutable(uri)


def _file(uri: str, target: Path) -> None:
    if scheme := re.match(r"[A-Za-z][A-Za-z0-9+.-]*(?=:/)", uri):
        raise ConfigurationError(
            f"{without_credentials(uri)}: weights are not fetched by {scheme[0]}:; give https:// with its sha256, or "
            "download them and give the file's absolute path, or put them where s3://bucket/key or "
            "models:/name/version names them"
        )
    path = Path(uri).expanduser()
    if not path.is_absolute():
        raise ConfigurationError(
            f"{uri!r} is relative, and a scheduled run has no folder of its own to start from; give an absolute path, "
            "s3://bucket/key, models:/name/version, or an Ultralytics asset such as yolo26n.pt"
        )
    if not path.is_file():
        raise DataError(f"there is no file {path}; correct the path, or put the weights there")
    shutil.copyfile(path, target)


def _model(uri: str, target: Path, tracking_uri: str | None) -> None:
    from mlflow.artifacts import download_artifacts

    match = MODEL.fullmatch(uri)
    if match is None or tracking_uri is None:  # `pin_revision` refuses both
        raise ValueError(uri)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        with reachable(tracking_uri):
            # MLflow would resolve models:/ by its process-wide URI, not by `tracking_uri`; it need not for a location.
            location = connect(tracking_uri).get_model_version_download_uri(match["name"], match["version"])
            download_artifacts(location, dst_path=folder, tracking_uri=tracking_uri)
        checkpoints = sorted(Path(folder).rglob("*.pt"))
        if len(checkpoints) != 1:
            names = [path.name for path in checkpoints]
            raise DataError(f"{uri} holds {names or 'no .pt file'}; register exactly one checkpoint in it")
        checkpoints[0].replace(target)


def _asset(name: str, target: Path) -> None:
    from alambique.process.environment import prepare

    prepare()
    from ultralytics.utils.downloads import GITHUB_ASSETS_NAMES, attempt_download_asset

    if name not in GITHUB_ASSETS_NAMES:
        raise ConfigurationError(
            f"{name!r} is not an asset that Ultralytics releases; give an absolute path for a file"
        )
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        try:
            Path(attempt_download_asset(Path(folder) / name)).replace(target)
        except OSError as error:
            raise TransientError(f"cannot download the Ultralytics asset {name}: {error}") from error
