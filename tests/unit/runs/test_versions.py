from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import pytest
import yaml

from alambique.errors import ConfigurationError
from alambique.runs import versions


def test_what_is_written_is_what_is_installed(tmp_path: Path) -> None:
    versions.write(tmp_path)
    written = yaml.safe_load((tmp_path / "versions.yaml").read_text())
    assert set(written) == set(versions.PACKAGES)
    assert written["ultralytics"] == version("ultralytics")
    versions.check(tmp_path)


def test_other_versions_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "versions.yaml").write_text(yaml.safe_dump({**versions.installed(), "torch": "1.0", "extra": "1"}))
    with pytest.raises(ConfigurationError, match=r"extra 1 → None, torch 1.0 → .*run `alambique versions`"):
        versions.check(tmp_path)
