from __future__ import annotations

from pathlib import Path

import pytest

from alambique.config.deployment import Deployment
from alambique.errors import ConfigurationError


def write(folder: Path, content: str) -> Path:
    (folder / "alambique.yaml").write_text(content)
    return folder


def test_the_environment_overrides_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = write(tmp_path, "origin: /a\nhome: /b\n")
    monkeypatch.setenv("ALAMBIQUE_HOME", "/c")
    assert Deployment.load(project) == Deployment(origin="/a", home=Path("/c"))


@pytest.mark.parametrize("field", ["origin", "tracking_uri"])
def test_credentials_inside_a_url_are_refused_and_not_repeated(tmp_path: Path, field: str) -> None:
    content = {"origin": "/a", "home": "/b", field: "https://me:secret@host/x"}
    project = write(tmp_path, "".join(f"{key}: {value}\n" for key, value in content.items()))
    with pytest.raises(ConfigurationError, match=f"{field}: a URL with credentials") as refusal:
        Deployment.load(project)
    assert "secret" not in str(refusal.value)


def test_an_unknown_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"alambique\.yaml: orgin"):
        Deployment.load(write(tmp_path, "orgin: /a\nhome: /b\n"))
