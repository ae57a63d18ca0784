from __future__ import annotations

import shutil
from pathlib import Path

import yaml
from factories.drift_project import World
from typer.testing import CliRunner

from alambique.cli import app


def settle(world: World, folder: Path) -> Path:
    """A working folder with the world's alambique.yaml."""
    folder.mkdir()
    content = world.deployment.model_dump(mode="json", exclude_none=True)
    (folder / "alambique.yaml").write_text(yaml.safe_dump(content))
    return folder


def test_people_get_the_table_and_the_report(world: World, alike: list[Path], tmp_path: Path) -> None:
    for path in alike[:50]:
        shutil.copy(path, world.production)
    done = CliRunner().invoke(app, ["drift", "--project", str(settle(world, tmp_path / "project"))])
    assert done.exit_code == 0, done.output
    assert "sharpness" in done.output and "MMD²" in done.output
    assert "The newest 50 images do not differ from those that pico-onnx-int8 was trained on" in done.output
    assert Path(done.output.strip().splitlines()[-1].removeprefix("Report: ")).is_file()


def test_the_reason_is_printed_when_there_is_no_verdict(world: World, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["drift", "--project", str(settle(world, tmp_path / "project"))])
    assert done.exit_code == 0
    assert "0 readable images are too few" in done.output
