from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from factories.s3 import s3_server

from alambique.errors import ConfigurationError, DataError, TransientError
from alambique.registry.client import connect
from alambique.runs import weight_sources


def test_a_file_is_fetched_by_its_absolute_path(tmp_path: Path) -> None:
    (tmp_path / "a.pt").write_bytes(b"weights")
    weight_sources.fetch(str(tmp_path / "a.pt"), tmp_path / "b.pt")
    assert (tmp_path / "b.pt").read_bytes() == b"weights"


@pytest.mark.parametrize("uri", ["weights/a.pt", "./a.pt", "not-an-asset.pt", "models:/a", "models:/a/latest"])
def test_what_could_mean_two_things_is_refused(tmp_path: Path, uri: str) -> None:
    with pytest.raises(ConfigurationError):
        weight_sources.fetch(uri, tmp_path / "b.pt", f"sqlite:///{tmp_path}/mlflow.db")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no file"):
        weight_sources.fetch(str(tmp_path / "a.pt"), tmp_path / "b.pt")


def test_a_registered_model_without_an_mlflow_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="tracking_uri"):
        weight_sources.fetch("models:/cells/1", tmp_path / "b.pt")


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An MLflow whose model `cells` has versions 1 and 2, with the alias `best` on 2."""
    tmp_path = tmp_path_factory.mktemp("mlflow")
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    client = connect(uri)
    experiment = client.create_experiment("cells", artifact_location=(tmp_path / "artifacts").as_uri())
    client.create_registered_model("cells")
    for content in (b"first", b"second"):
        run = client.create_run(experiment)
        (tmp_path / "weights.pt").write_bytes(content)
        client.log_artifact(run.info.run_id, str(tmp_path / "weights.pt"), "model")
        client.create_model_version("cells", f"{run.info.artifact_uri}/model", run.info.run_id)
    client.set_registered_model_alias("cells", "best", "2")
    return uri


def test_a_registered_version_and_an_alias_are_fetched(registry: str, tmp_path: Path) -> None:
    weight_sources.fetch("models:/cells/1", tmp_path / "one.pt", registry)
    weight_sources.fetch("models:/cells@best", tmp_path / "best.pt", registry)
    assert (tmp_path / "one.pt").read_bytes() == b"first"
    assert (tmp_path / "best.pt").read_bytes() == b"second"


def test_an_alias_is_pinpointed_to_its_version(registry: str) -> None:
    assert weight_sources.pin_revision("models:/cells@best", registry) == "models:/cells/2"
    with pytest.raises(ConfigurationError, match="refused"):
        weight_sources.pin_revision("models:/cells@worst", registry)


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A bucket on a real S3 server, with an object in it."""
    with s3_server(tmp_path_factory.mktemp("s3")):
        boto3.client("s3").put_object(Bucket="bucket", Key="teachers/a.pt", Body=b"from s3")
        yield "s3://bucket"


def test_an_s3_object_is_fetched(bucket: str, tmp_path: Path) -> None:
    weight_sources.fetch(f"{bucket}/teachers/a.pt", tmp_path / "a.pt")
    assert (tmp_path / "a.pt").read_bytes() == b"from s3"


def test_a_missing_s3_object_is_permanent_and_a_dead_server_is_not(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DataError, match=r"teachers/b.pt"):
        weight_sources.fetch(f"{bucket}/teachers/b.pt", tmp_path / "b.pt")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(TransientError, match=r"teachers/a.pt"):
        weight_sources.fetch(f"{bucket}/teachers/a.pt", tmp_path / "a.pt")
