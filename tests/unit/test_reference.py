"""What stands at the repository's root is what projects begin with."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

from alambique.pipeline import expansion
from alambique.runs import versions

ROOT = Path(__file__).parents[2]


def test_the_committed_graph_is_what_dvc_yaml_expands_to() -> None:
    expansion.check(ROOT)


def test_the_committed_versions_are_the_locked_ones() -> None:
    versions.check(ROOT)


def test_the_wheel_holds_the_template_of_a_project(tmp_path: Path) -> None:
    code = f"from hatchling.build import build_wheel; print(build_wheel({str(tmp_path)!r}))"
    built = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    names = zipfile.ZipFile(tmp_path / built.stdout.split()[-1]).namelist()
    template = {name.removeprefix("alambique/template/") for name in names if name.startswith("alambique/template/")}
    assert template >= {"dvc.yaml", "params.yaml", ".dvcignore", "dags/distill.py", "dags/promote.py"}
    assert "alambique/report/report.html.j2" in names
