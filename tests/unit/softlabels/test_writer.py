"""The writer's memory does not depend on how much it writes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

WRITE = """
import sys
from pathlib import Path

from factories import soft_labels
from alambique.softlabels import writer

def resident(field):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))

def images(count):
    row = soft_labels.labels("", boxes=100)
    for index in range(count):
        yield row._replace(image=f"train/{index:06d}.png", boxes=row.boxes.copy())

before = resident("VmRSS")
writer.write(Path(sys.argv[1]), images(int(sys.argv[2])), soft_labels.RECIPE, 0, 1)
print(resident("VmHWM") - before)
"""


def peak(folder: Path, images: int) -> int:
    """KiB of memory that a fresh process needs to write so many images, above its imports."""
    folder.mkdir()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", WRITE, str(folder), str(images)]
    return int(subprocess.check_output(command, env=environment))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_twenty_times_the_images_take_no_more_memory(tmp_path: Path) -> None:
    assert peak(tmp_path / "many", 20_000) <= 1.05 * peak(tmp_path / "few", 1_000)
