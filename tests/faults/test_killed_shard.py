"""A process killed while it writes a shard costs that shard, and nothing half-made is ever read."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from factories.soft_labels import IMAGES, RECIPE

from alambique.errors import IntegrityError
from alambique.softlabels.reader import Cache

STAGE = """
import os, signal, sys
from pathlib import Path

from alambique.files import fresh_folder
from alambique.softlabels import writer
from factories.soft_labels import IMAGES, RECIPE

shard = int(sys.argv[1])
with Path("begun").open("a") as log:
    log.write(sys.argv[1])

def images():
    for index, image in enumerate(IMAGES[shard::2]):
        if index == 2 and shard == 1 and Path("fault").exists():
            os.kill(os.getpid(), signal.SIGKILL)
        yield image

writer.BATCH = 1
with fresh_folder(Path("soft_labels", sys.argv[1])) as folder:
    writer.write(folder, images(), RECIPE, shard, 2)
"""
"""Writes a shard of two, batch by batch; where there is a file `fault`, it dies in the middle of the second."""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    stage = {
        "matrix": {"shard": [0, 1]},
        "cmd": f"{sys.executable} stage.py ${{item.shard}}",
        "outs": ["soft_labels/${item.shard}"],
    }
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"soft_labels": stage}}))
    (tmp_path / "stage.py").write_text(STAGE)
    dvc(tmp_path, "init", "--no-scm", "--quiet")
    return tmp_path


def dvc(project: Path, *arguments: str) -> int:
    command = [sys.executable, "-m", "dvc", *arguments]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(command, cwd=project, env=environment, check=False).returncode


def test_only_the_killed_shard_is_written_again(project: Path) -> None:
    cache, fault = project / "soft_labels", project / "fault"
    fault.touch()
    assert dvc(project, "repro") != 0
    assert not (cache / "1").exists()
    assert [path.name for path in cache.glob(".1.*/*")] == ["soft_labels.arrow"]  # begun, and without its manifest
    with pytest.raises(IntegrityError, match=r"holds shards \[0\] of 2"):
        Cache.open(cache, RECIPE)

    fault.unlink()
    assert dvc(project, "repro") == 0
    assert (project / "begun").read_text() == "011"
    assert sorted(Cache.open(cache, RECIPE)) == [image.image for image in IMAGES]
    assert {path.name for path in cache.iterdir()} - {".gitignore"} == {"0", "1"}
