"""A training whose process group is killed goes on in another workspace, and its result is what it would have been."""

from __future__ import annotations

import multiprocessing
import os
import re
import shutil
import signal
import time
from pathlib import Path

import pytest
import yaml
from projects import Project
from tiny import NOTHING, params

from alambique import resume
from alambique.files import write_json
from alambique.messages import StageRequest
from alambique.stages.resume import STATE
from alambique.workspace import run_stage

EPOCHS = 12

CONTROL = {
    "cmd": "python -m alambique stage control pico 0",
    "deps": ["data"],
    "params": ["training", "distill.epochs"],
    "outs": ["models/pico/control/0"],
    "metrics": ["metrics/control/pico-0.json"],
}


def project(root: Path, scenes: Path) -> Project:
    """A project with nothing but the training of a control."""
    made = Project(root, {"control": CONTROL})
    shutil.copytree(scenes, made.checkout / "data", dirs_exist_ok=True)
    made.write("params.yaml", yaml.safe_dump(params(distill={"epochs": EPOCHS}).model_dump(mode="json")))
    write_json(made.checkout / "inputs/students/index.json", {"pico": NOTHING})
    write_json(made.checkout / "metrics/validate.json", {"success": True})
    return made


def in_a_group_of_its_own(request: StageRequest) -> None:
    os.setsid()
    resume.SECONDS = 0.1
    run_stage(request)


@pytest.mark.slow
def test_a_training_killed_halfway_goes_on_in_another_workspace(
    tmp_path: Path, scenes: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    killed = project(tmp_path / "killed", scenes)
    request = killed.request(killed.snapshot(), "control", {})
    victim = multiprocessing.get_context("spawn").Process(target=in_a_group_of_its_own, args=(request,))
    victim.start()
    for _ in range(1200):
        if any(killed.remote_folder.glob(f"resume/*/{STATE}")):
            break
        time.sleep(0.1)
    assert victim.pid is not None
    os.killpg(victim.pid, signal.SIGKILL)
    victim.join()
    assert victim.exitcode == -signal.SIGKILL
    assert not (killed.remote_folder / "locks").exists()
    capfd.readouterr()
    elsewhere = killed.deployment.model_copy(update={"home": tmp_path / "elsewhere"})
    resumed = run_stage(request.model_copy(update={"deployment": elsewhere}))
    (done,) = re.findall(rf"resuming after epoch (\d+) of {EPOCHS}", log := capfd.readouterr().out)
    assert re.findall(rf"^epoch (\d+)/{EPOCHS}: ", log, re.MULTILINE) == [
        str(epoch) for epoch in range(int(done) + 1, EPOCHS + 1)
    ]
    assert not any((killed.remote_folder / "resume").iterdir())
    whole = project(tmp_path / "whole", scenes)
    assert run_stage(whole.request(whole.snapshot(), "control", {})).entry["outs"] == resumed.entry["outs"]
