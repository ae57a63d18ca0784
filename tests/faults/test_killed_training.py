"""A training whose process group is killed goes on in another workspace, and its result is what it would have been."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import re
import shutil
import signal
import time
from pathlib import Path

import pytest
import yaml
from factories.runner_project import Project
from factories.tiny_detection import NOTHING, params

from alambique import config
from alambique.files import write_json
from alambique.messages import StageRequest, StageResult
from alambique.pipeline import resume_store
from alambique.process.environment import prepare
from alambique.process.resume_dir import STATE
from alambique.runs.run_stage import run_stage

STEPS = 48
INTERVAL = 3

CONTROL = {
    "cmd": "python -m alambique.stage control pico 0",
    "deps": ["data"],
    "params": ["training", "distill.steps"],
    "outs": ["models/control/0/pico"],
    "metrics": ["metrics/control/pico-0.json"],
}


def project(root: Path, scenes: Path) -> Project:
    """A project with nothing but the training of a control."""
    made = Project(root, {"control": CONTROL})
    shutil.copytree(scenes, made.checkout / "data", dirs_exist_ok=True)
    made.write("params.yaml", yaml.safe_dump(params(distill={"steps": STEPS}).model_dump(mode="json")))
    write_json(made.checkout / "inputs/students/index.json", {"pico": NOTHING})
    write_json(made.checkout / "metrics/validate.json", {"success": True})
    return made


def in_a_group_of_its_own(request: StageRequest) -> None:
    os.setsid()
    resume_store.SECONDS = 0.1
    run_stage(request)


@pytest.mark.slow
def test_a_training_killed_halfway_goes_on_in_another_workspace(
    tmp_path: Path, scenes: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    made = project(tmp_path / "project", scenes)
    request = made.request(made.snapshot(), "control", {})
    victim = multiprocessing.get_context("spawn").Process(target=in_a_group_of_its_own, args=(request,))
    victim.start()
    while victim.is_alive() and not any(made.remote_folder.glob(f"resume/*/{STATE}")):
        time.sleep(0.1)
    assert victim.pid is not None
    os.killpg(victim.pid, signal.SIGKILL)
    victim.join()
    assert victim.exitcode == -signal.SIGKILL
    assert not (made.remote_folder / "locks").exists()
    capfd.readouterr()
    elsewhere = made.deployment.model_copy(update={"home": tmp_path / "elsewhere"})
    resumed = run_stage(request.model_copy(update={"deployment": elsewhere}))
    (done,) = re.findall(rf"resuming after step (\d+) of {STEPS}", log := capfd.readouterr().out)
    left = [str(step) for step in range(int(done) + INTERVAL, STEPS + 1, INTERVAL)]
    assert re.findall(rf"^step (\d+)/{STEPS}: ", log, re.MULTILINE) == left
    assert not any((made.remote_folder / "resume").iterdir())
    assert kept(made, resumed) == uninterrupted(made.checkout, tmp_path / "whole")


def kept(made: Project, result: StageResult) -> dict[str, str]:
    """The md5 of each file of the checkpoint on the remote."""
    (digest,) = (out["md5"] for out in result.entry["outs"] if out["path"] == CONTROL["outs"][0])
    return {file["relpath"]: file["md5"] for file in json.loads(made.object(digest).read_text())}


def uninterrupted(checkout: Path, target: Path) -> dict[str, str]:
    """The md5 of each file that the same training leaves when nothing happens to it."""
    prepare()  # before Ultralytics is imported
    from factories.stage_work import control

    target.mkdir()
    control(checkout, config.load(checkout), "pico", 0, target)
    return {path.name: hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() for path in target.iterdir()}
