from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from alambique.config.deployment import Deployment
from alambique.config.resources import Pods, Resources, resources_of
from alambique.errors import ConfigurationError

IMAGE = "ghcr.io/me/alambique@sha256:" + "0" * 64


def write(folder: Path, content: str) -> Path:
    (folder / "alambique.yaml").write_text(content)
    return folder


def test_the_environment_overrides_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = write(tmp_path, "origin: /a\nhome: /b\n")
    monkeypatch.setenv("ALAMBIQUE_HOME", "/c")
    assert Deployment.load(project) == Deployment(origin="/a", home=Path("/c"))


@pytest.mark.parametrize(
    ("field", "remedy"),
    [
        ("origin", "credential helper"),
        ("tracking_uri", "MLFLOW_TRACKING_USERNAME"),
        *((field, "AWS_ACCESS_KEY_ID") for field in ("arrivals", "production", "releases")),
    ],
)
@pytest.mark.parametrize(
    "url", ["https://me:secret@host/x", "HTTPS://secret@host", "postgresql+psycopg2://me:sec/ret@host/x"]
)
def test_credentials_inside_a_url_are_refused_and_not_repeated(
    tmp_path: Path, field: str, remedy: str, url: str
) -> None:
    project = write(tmp_path, yaml.safe_dump({"origin": "/a", "home": "/b", field: url}))
    with pytest.raises(ConfigurationError, match=f"{field}: a URL with credentials .*{remedy}") as refusal:
        Deployment.load(project)
    assert "sec" not in str(refusal.value)


@pytest.mark.parametrize("content", [{"origin": "--upload-pack=evil"}, {"branch": "--detach"}])
def test_what_git_would_take_for_an_option_is_refused(tmp_path: Path, content: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(content))):
        Deployment.load(write(tmp_path, yaml.safe_dump({"origin": "/a", "home": "/b", **content})))


def test_an_unknown_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"alambique\.yaml: orgin"):
        Deployment.load(write(tmp_path, "orgin: /a\nhome: /b\n"))


def test_a_stage_is_given_its_own_resources_over_the_default(tmp_path: Path) -> None:
    entries = {"default": {"cpu": 2, "retries": 5}, "teacher": {"cpu": 8, "gpus": 1, "queue": "gpu"}}
    project = write(tmp_path, yaml.safe_dump({"origin": "/a", "home": "/b", "resources": entries}))
    resources = Deployment.load(project).resources
    assert resources_of(resources, "teacher") == Resources(cpu=8, gpus=1, queue="gpu", retries=5)
    assert resources_of(resources, "prune") == Resources(cpu=2, retries=5)
    assert resources_of({}, "prune") == Resources()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"resources": {"teacher": {"memory": "16 GB"}}}, r"resources\.teacher\.memory"),
        ({"resources": {"teacher": {"gpu": 1}}}, r"resources\.teacher\.gpu"),
        ({"resources": {"teacher": {"cpu": 0}}}, r"resources\.teacher\.cpu"),
        ({"pods": {"image": "ghcr.io/me/alambique:latest"}}, r"pods\.image"),
        ({"pods": {"image": IMAGE, "secrets": ["MLflow"]}}, r"pods\.secrets\.0"),
    ],
)
def test_what_no_executor_understands_is_refused(tmp_path: Path, content: dict[str, Any], message: str) -> None:
    project = write(tmp_path, yaml.safe_dump({"origin": "/a", "home": "/b", **content}))
    with pytest.raises(ConfigurationError, match=message):
        Deployment.load(project)


def test_a_task_is_not_told_what_runs_it() -> None:
    here = Deployment(origin="/a", home=Path("/b"), resources={"default": Resources(cpu=2)}, pods=Pods(image=IMAGE))
    assert Deployment.model_validate(here.model_dump()) == Deployment(origin="/a", home=Path("/b"))
